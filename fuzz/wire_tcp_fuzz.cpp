// TCP headers: what was read can be written and means the same when it is read again.
#include <algorithm>
#include <vector>

#include "base/assert.hpp"
#include "wire/tcp.hpp"

using namespace iopkt;
using namespace iopkt::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto view = TcpView::parse(as_bytes(data, size));
  if (!view) return 0;
  IOPKT_ASSERT(view->header_len() == TcpView::kMinHeaderLen + view->option_bytes().size());
  IOPKT_ASSERT(view->header_len() + view->payload().size() == size);
  (void)view->checksum();
  TcpHeader h = view->header();
  IOPKT_ASSERT(h.src == view->src() && h.dst == view->dst() && h.seq == view->seq() && h.ack == view->ack());
  IOPKT_ASSERT(h.flags == view->flags() && h.window == view->window() && h.urgent == view->urgent());
  std::vector<std::byte> again(encoded_len(h));
  IOPKT_ASSERT(encode(h, again) == again.size());
  const auto reread = TcpView::parse(again);
  IOPKT_ASSERT(reread.has_value());
  const TcpHeader written = reread->header();
  // Unpadded options may fill a header so that with their NOPs a SACK block has no room; nothing else may get
  // lost.
  IOPKT_ASSERT(written.options.sack_count <= h.options.sack_count);
  for (std::size_t i = written.options.sack_count; i < h.options.sack.size(); ++i) h.options.sack[i] = {};
  h.options.sack_count = written.options.sack_count;
  if (!written.options.fast_open) h.options.fast_open.reset();  // nor a cookie
  if (!written.options.accecn) h.options.accecn.reset();
  // Of a MAC that is too long the beginning is kept, and of two signatures the last.
  h.options.signature.length = std::min<std::uint8_t>(h.options.signature.length, 16);
  h.options.signature.twice = false;
  IOPKT_ASSERT(written == h);
  return 0;
}
