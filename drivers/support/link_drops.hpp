// What the host's kernel could not put into an interface's queues: its statistics, asked through rtnetlink(7).
#pragma once

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "unique_fd.hpp"

namespace devnp {

class LinkDrops {
 public:
  /// In the namespace of the calling thread. What was dropped until now does not count. 0 or -errno.
  int open(int index) {
    index_ = index;
    socket_.reset(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!socket_) return -errno;
    before_ = ask(0);
    return 0;
  }
  /// Frames that the host sent to the interface and that found no room. As before when there is no answer.
  std::uint64_t count() { return last_ = socket_ ? ask(last_ + before_) - before_ : 0; }

 private:
  struct Question {
    nlmsghdr head;
    ifinfomsg link;
  };

  std::uint64_t ask(std::uint64_t otherwise) const {
    Question question{};
    question.head.nlmsg_len = sizeof question;
    question.head.nlmsg_type = RTM_GETLINK;
    question.head.nlmsg_flags = NLM_F_REQUEST;
    question.link.ifi_index = index_;
    if (::send(socket_.get(), &question, sizeof question, 0) < 0) return otherwise;
    alignas(nlmsghdr) char answer[16384];
    ssize_t got;
    do got = ::recv(socket_.get(), answer, sizeof answer, MSG_DONTWAIT); /* the kernel has answered within send() */
    while (got < 0 && errno == EINTR);
    return got < 0 ? otherwise : parse(answer, static_cast<std::size_t>(got), otherwise);
  }

  static std::uint64_t parse(const char* bytes, std::size_t len, std::uint64_t otherwise) {
    const auto* head = reinterpret_cast<const nlmsghdr*>(bytes);
    constexpr std::size_t start = NLMSG_LENGTH(NLMSG_ALIGN(sizeof(ifinfomsg)));
    if (len < start || head->nlmsg_type != RTM_NEWLINK || head->nlmsg_len > len) return otherwise;
    for (std::size_t at = start; at + sizeof(rtattr) <= head->nlmsg_len;) {
      const auto* attribute = reinterpret_cast<const rtattr*>(bytes + at);
      if (attribute->rta_len < sizeof *attribute || attribute->rta_len > head->nlmsg_len - at) break;
      if (attribute->rta_type == IFLA_STATS64 && attribute->rta_len >= RTA_LENGTH(offsetof(rtnl_link_stats64, multicast))) {
        std::uint64_t dropped;
        std::memcpy(&dropped, bytes + at + RTA_LENGTH(offsetof(rtnl_link_stats64, tx_dropped)), sizeof dropped);
        return dropped;
      }
      at += RTA_ALIGN(attribute->rta_len);
    }
    return otherwise;
  }

  UniqueFd socket_;
  int index_ = 0;
  std::uint64_t before_ = 0, last_ = 0;
};

}  // namespace devnp
