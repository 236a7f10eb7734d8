// Tells when the host's interface goes up, down or away: rtnetlink link messages (rtnetlink(7)).
#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>

#include "../support/unique_fd.hpp"

namespace devnp_packet {

class LinkWatch {
 public:
  enum class News { none, up, down, gone };

  /// In the namespace of the calling thread. 0 or -errno.
  int open(int index) {
    index_ = index;
    socket_.reset(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
    if (!socket_) return -errno;
    sockaddr_nl a{};
    a.nl_family = AF_NETLINK;
    a.nl_groups = RTMGRP_LINK;
    return ::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0 ? 0 : -errno;
  }
  int descriptor() const { return socket_.get(); }

  /// The state after all messages that wait now. `lost` is set when the kernel had to drop some: ask it
  /// instead.
  News read(bool* lost) {
    News news = News::none;
    alignas(nlmsghdr) char buffer[16384];
    *lost = false;
    for (;;) {
      const ssize_t n = ::recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        *lost = errno == ENOBUFS;
        return news;
      }
      const News here = parse(buffer, static_cast<std::size_t>(n), index_);
      if (here != News::none) news = here;
    }
  }

  /// The last that `len` bytes of messages say about the interface. `bytes` is aligned for nlmsghdr.
  static News parse(const char* bytes, std::size_t len, int index) {
    News news = News::none;
    while (len >= sizeof(nlmsghdr)) {
      const auto* h = reinterpret_cast<const nlmsghdr*>(bytes);
      if (h->nlmsg_len < sizeof *h || h->nlmsg_len > len) break;
      if ((h->nlmsg_type == RTM_NEWLINK || h->nlmsg_type == RTM_DELLINK) &&
          h->nlmsg_len >= NLMSG_LENGTH(sizeof(ifinfomsg))) {
        const auto* link = reinterpret_cast<const ifinfomsg*>(bytes + NLMSG_HDRLEN);
        constexpr unsigned up = IFF_UP | IFF_RUNNING;
        // AF_BRIDGE: a bridge reports that it lets go of a port, with RTM_DELLINK too.
        if (link->ifi_index == index && link->ifi_family == AF_UNSPEC) {
          if (h->nlmsg_type == RTM_DELLINK)
            news = News::gone;
          else
            news = (link->ifi_flags & up) == up ? News::up : News::down;
        }
      }
      const std::size_t step = NLMSG_ALIGN(h->nlmsg_len);
      if (step >= len) break;
      bytes += step;
      len -= step;
    }
    return news;
  }

 private:
  devnp::UniqueFd socket_;
  int index_ = 0;
};

}  // namespace devnp_packet
