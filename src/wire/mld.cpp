#include "wire/mld.hpp"

#include <algorithm>

namespace iopkt::wire {

Expected<MldView, ParseError> MldView::parse(Bytes bytes) {
  if (bytes.size() < kHeaderLen) return unexpected(ParseError::truncated);
  const MldView view{bytes};
  switch (view.type()) {
    case Icmpv6Type::listener_report:
    case Icmpv6Type::listener_done:
      if (bytes.size() < kQueryV1Len) return unexpected(ParseError::truncated);
      return view;
    case Icmpv6Type::listener_query:
      if (bytes.size() < kQueryV1Len) return unexpected(ParseError::truncated);
      if (bytes.size() == kQueryV1Len) return view;
      if (bytes.size() < kQueryLen) return unexpected(ParseError::bad_length);
      if (kQueryLen + 16 * view.source_count() > bytes.size()) return unexpected(ParseError::truncated);
      return view;
    case Icmpv6Type::listener_report_v2: break;
    default: return unexpected(ParseError::bad_type);
  }
  Bytes rest = view.records();
  for (std::size_t i = 0; i < view.record_count(); ++i) {
    const auto record = MldRecordView::parse(rest);
    if (!record) return unexpected(record.error());
    rest = rest.subspan(record->size());
  }
  return view;
}

Expected<MldRecordView, ParseError> MldRecordView::parse(Bytes bytes) {
  if (bytes.size() < MldView::kRecordLen) return unexpected(ParseError::truncated);
  const std::size_t length = MldView::kRecordLen + 16 * std::size_t{load_be16(bytes, 2)} + 4 * std::size_t{load_u8(bytes, 1)};
  if (length > bytes.size()) return unexpected(ParseError::truncated);
  return MldRecordView{bytes.first(length)};
}

void encode_mld(Icmpv6Type type, std::uint16_t response_code, const Ipv6Address& group, MutableBytes out) {
  const MutableBytes message = out.first(MldView::kQueryV1Len);
  std::ranges::fill(message, std::byte{0});
  store_u8(message, 0, static_cast<std::uint8_t>(type));
  store_be16(message, 4, response_code);
  store_ipv6(message, 8, group);
}

void encode_mld(std::span<const MldRecord> records, MutableBytes out) {
  std::ranges::fill(out.first(MldView::kHeaderLen), std::byte{0});
  store_u8(out, 0, static_cast<std::uint8_t>(Icmpv6Type::listener_report_v2));
  store_be16(out, 6, static_cast<std::uint16_t>(records.size()));
  std::size_t at = MldView::kHeaderLen;
  for (const MldRecord& record : records) {
    store_u8(out, at, static_cast<std::uint8_t>(record.type));
    store_u8(out, at + 1, 0);
    store_be16(out, at + 2, static_cast<std::uint16_t>(record.sources.size()));
    store_ipv6(out, at + 4, record.group);
    at += MldView::kRecordLen;
    for (const Ipv6Address& source : record.sources) store_ipv6(out, at, source), at += 16;
  }
}

}  // namespace iopkt::wire
