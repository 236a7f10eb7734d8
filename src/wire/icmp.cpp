#include "wire/icmp.hpp"

#include "wire/checksum.hpp"

namespace iopkt::wire {

bool IcmpView::checksum_ok() const { return finish(sum(bytes_)) == 0; }

Expected<IcmpTimestamps, ParseError> IcmpView::timestamps() const {
  if (type() != IcmpType::timestamp && type() != IcmpType::timestamp_reply)
    return unexpected(ParseError::bad_type);
  const Bytes body = payload();
  if (body.size() < kTimestampsLen) return unexpected(ParseError::truncated);
  return IcmpTimestamps{
      .originate = load_be32(body, 0), .receive = load_be32(body, 4), .transmit = load_be32(body, 8)};
}

Expected<Ipv4Address, ParseError> IcmpView::address_mask() const {
  if (type() != IcmpType::address_mask_request && type() != IcmpType::address_mask_reply)
    return unexpected(ParseError::bad_type);
  const Bytes body = payload();
  if (body.size() < kAddressMaskLen) return unexpected(ParseError::truncated);
  return load_ipv4(body, 0);
}

std::size_t encode(const IcmpHeader& h, MutableBytes out) {
  store_u8(out, 0, static_cast<std::uint8_t>(h.type));
  store_u8(out, 1, h.code);
  store_be16(out, IcmpView::kChecksumOffset, 0);
  store_be32(out, 4, h.rest);
  return IcmpView::kHeaderLen;
}

std::size_t encode(const IcmpTimestamps& t, MutableBytes out) {
  store_be32(out, 0, t.originate);
  store_be32(out, 4, t.receive);
  store_be32(out, 8, t.transmit);
  return IcmpView::kTimestampsLen;
}

void store_icmp_checksum(MutableBytes message) {
  store_be16(message, IcmpView::kChecksumOffset, 0);
  store_be16(message, IcmpView::kChecksumOffset, finish(sum(message)));
}

bool is_bad_icmp_extension(Bytes bytes) {
  constexpr std::size_t kChecksumAt = 2, kObjectHeaderLen = 4;
  if (bytes.size() < kIcmpExtensionHeaderLen) return true;
  if (load_u8(bytes, 0) >> 4 != 2) return false;
  if (load_be16(bytes, kChecksumAt) != 0 && finish(sum(bytes)) != 0) return true;
  for (std::size_t at = kIcmpExtensionHeaderLen; at < bytes.size();) {
    if (bytes.size() - at < kObjectHeaderLen) return true;
    const std::size_t length = load_be16(bytes, at);
    if (length < kObjectHeaderLen || length > bytes.size() - at) return true;
    at += length;
  }
  return false;
}

}  // namespace iopkt::wire
