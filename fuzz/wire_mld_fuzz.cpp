// MLD: what was read is inside of the message; a report of version 2 is written back as it was.
#include <vector>

#include "base/assert.hpp"
#include "wire/mld.hpp"

using namespace iopkt;
using namespace iopkt::wire;

namespace {

void check_report(const MldView& view) {
  std::vector<MldRecord> records;
  std::vector<std::vector<Ipv6Address>> sources(view.record_count());
  Bytes rest = view.records();
  for (std::size_t i = 0; i < view.record_count(); ++i) {
    const auto record = MldRecordView::parse(rest);
    IOPKT_ASSERT(record);
    for (std::size_t n = 0; n < record->source_count(); ++n) sources[i].push_back(record->source(n));
    records.push_back({record->type(), record->group(), sources[i]});
    rest = rest.subspan(record->size());
  }
  std::size_t length = MldView::kHeaderLen;
  for (const MldRecord& record : records) length += record.encoded_len();
  std::vector<std::byte> again(length);
  encode_mld(records, again);
  const auto back = MldView::parse(again);
  IOPKT_ASSERT(back && back->record_count() == records.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto view = MldView::parse(as_bytes(data, size));
  if (!view) return 0;
  if (view->type() == Icmpv6Type::listener_report_v2) {
    check_report(*view);
    return 0;
  }
  (void)view->group();
  if (view->type() != Icmpv6Type::listener_query || view->query_version() != 2) return 0;
  for (std::size_t i = 0; i < view->source_count(); ++i) (void)view->source(i);
  IOPKT_ASSERT(mld_code_value(view->response_code()) <= 8387584 && igmp_code_value(view->interval_code()) <= 31744);
  return 0;
}
