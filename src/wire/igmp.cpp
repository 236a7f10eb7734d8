#include "wire/igmp.hpp"

#include "wire/checksum.hpp"

namespace iopkt::wire {
namespace {

void store_checksum(MutableBytes message) {
  store_be16(message, IgmpView::kChecksumOffset, 0);
  store_be16(message, IgmpView::kChecksumOffset, finish(sum(message, 0)));
}

}  // namespace

Expected<IgmpView, ParseError> IgmpView::parse(Bytes bytes) {
  if (bytes.size() < kHeaderLen) return unexpected(ParseError::truncated);
  const IgmpView view{bytes};
  if (view.type() == IgmpType::query && bytes.size() >= kQueryLen && kQueryLen + 4 * view.source_count() > bytes.size())
    return unexpected(ParseError::truncated);
  if (view.type() != IgmpType::report_v3) return view;
  Bytes rest = view.records();
  for (std::size_t i = 0; i < view.record_count(); ++i) {
    const auto record = IgmpRecordView::parse(rest);
    if (!record) return unexpected(record.error());
    rest = rest.subspan(record->size());
  }
  return view;
}

bool IgmpView::checksum_ok() const { return finish(sum(bytes_, 0)) == 0; }

int IgmpView::query_version() const {
  if (bytes_.size() == kHeaderLen) return response_code() == 0 ? 1 : 2;
  return bytes_.size() >= kQueryLen ? 3 : 0;
}

Expected<IgmpRecordView, ParseError> IgmpRecordView::parse(Bytes bytes) {
  if (bytes.size() < IgmpView::kRecordLen) return unexpected(ParseError::truncated);
  const std::size_t length = IgmpView::kRecordLen + 4 * (std::size_t{load_be16(bytes, 2)} + load_u8(bytes, 1));
  if (length > bytes.size()) return unexpected(ParseError::truncated);
  return IgmpRecordView{bytes.first(length)};
}

void encode_igmp(IgmpType type, std::uint8_t response_code, Ipv4Address group, MutableBytes out) {
  const MutableBytes message = out.first(IgmpView::kHeaderLen);
  store_u8(message, 0, static_cast<std::uint8_t>(type));
  store_u8(message, 1, response_code);
  store_ipv4(message, 4, group);
  store_checksum(message);
}

void encode_igmp(std::span<const IgmpRecord> records, MutableBytes out) {
  store_u8(out, 0, static_cast<std::uint8_t>(IgmpType::report_v3));
  store_u8(out, 1, 0);
  store_be16(out, 4, 0);
  store_be16(out, 6, static_cast<std::uint16_t>(records.size()));
  std::size_t at = IgmpView::kHeaderLen;
  for (const IgmpRecord& record : records) {
    store_u8(out, at, static_cast<std::uint8_t>(record.type));
    store_u8(out, at + 1, 0);
    store_be16(out, at + 2, static_cast<std::uint16_t>(record.sources.size()));
    store_ipv4(out, at + 4, record.group);
    at += IgmpView::kRecordLen;
    for (const Ipv4Address source : record.sources) store_ipv4(out, at, source), at += 4;
  }
  store_checksum(out);
}

}  // namespace iopkt::wire
