// The classic filters of drivers/support/openings.hpp, for hosts that take no eBPF: every frame is one queue's, and the right one's.
#include "../../drivers/support/openings.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "openings.hpp"

namespace iopkt::abi_test {
namespace {

/// Whether a socket with that filter is given the frame.
bool takes(bool openings, const Bytes& frame) {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
  auto filter = devnp::openings_filter(openings);
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  EXPECT_EQ(::setsockopt(ends[1], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
  (void)!::send(ends[0], frame.data(), frame.size(), 0);
  Bytes got(frame.size());
  const bool came = ::recv(ends[1], got.data(), got.size(), 0) == static_cast<ssize_t>(frame.size());
  ::close(ends[0]);
  ::close(ends[1]);
  return came;
}

TEST(OpeningsFilter, EveryFrameIsOneQueues) {
  for (const OpeningCase& one : opening_cases()) {
    SCOPED_TRACE(one.what);
    EXPECT_EQ(takes(true, one.frame), one.opens);
    EXPECT_EQ(takes(false, one.frame), !one.opens);
    // However short it is cut.
    for (std::size_t len = 14; len < one.frame.size(); ++len) {
      const Bytes cut{one.frame.begin(), one.frame.begin() + static_cast<std::ptrdiff_t>(len)};
      EXPECT_NE(takes(true, cut), takes(false, cut)) << len;
    }
  }
}

}  // namespace
}  // namespace iopkt::abi_test
