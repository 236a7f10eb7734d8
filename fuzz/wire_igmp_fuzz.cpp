// IGMP: what was read is inside of the message; a report of version 3 is written back as it was.
#include <algorithm>
#include <vector>

#include "base/assert.hpp"
#include "wire/igmp.hpp"

using namespace iopkt;
using namespace iopkt::wire;

namespace {

void check_report(const IgmpView& view) {
  std::vector<IgmpRecord> records;
  std::vector<std::vector<Ipv4Address>> sources(view.record_count());
  Bytes rest = view.records();
  for (std::size_t i = 0; i < view.record_count(); ++i) {
    const auto record = IgmpRecordView::parse(rest);
    IOPKT_ASSERT(record);
    for (std::size_t n = 0; n < record->source_count(); ++n) sources[i].push_back(record->source(n));
    records.push_back({record->type(), record->group(), sources[i]});
    rest = rest.subspan(record->size());
  }
  std::size_t length = IgmpView::kHeaderLen;
  for (const IgmpRecord& record : records) length += record.encoded_len();
  std::vector<std::byte> again(length);
  encode_igmp(records, again);
  const auto back = IgmpView::parse(again);
  IOPKT_ASSERT(back && back->checksum_ok() && back->record_count() == records.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto view = IgmpView::parse(as_bytes(data, size));
  if (!view) return 0;
  (void)view->checksum_ok();
  if (view->type() == IgmpType::report_v3) check_report(*view);
  if (view->type() != IgmpType::query || view->query_version() != 3) return 0;
  for (std::size_t i = 0; i < view->source_count(); ++i) (void)view->source(i);
  IOPKT_ASSERT(igmp_code_value(view->response_code()) <= 31744);
  return 0;
}
