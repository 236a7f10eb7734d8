// Host interfaces through rtnetlink and the SIOC* calls.
#include "links.hpp"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace iopkt::abi_test {
namespace {

/// One netlink message that grows at its end; attributes nest by open/close.
class Message {
 public:
  Message(int type, int flags) : bytes_(NLMSG_LENGTH(sizeof(ifinfomsg))) {
    nlmsghdr h{};
    h.nlmsg_type = static_cast<std::uint16_t>(type);
    h.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    std::memcpy(bytes_.data(), &h, sizeof h);
  }
  std::size_t open(int type) {
    const std::size_t at = bytes_.size();
    const rtattr a{0, static_cast<std::uint16_t>(type)};
    append(&a, sizeof a);
    return at;
  }
  void close(std::size_t at) {
    const auto len = static_cast<std::uint16_t>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at, &len, sizeof len);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  void append(const void* p, std::size_t n) {
    const auto* b = static_cast<const char*>(p);
    bytes_.insert(bytes_.end(), b, b + n);
  }
  void text(int type, const std::string& s) {
    const std::size_t at = open(type);
    append(s.c_str(), s.size() + 1);
    close(at);
  }
  /// Sends it; true when the kernel says that it was done.
  bool done() {
    const auto len = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &len, sizeof len);
    const int s = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct {
      nlmsghdr h;
      nlmsgerr e;
      char rest[512];
    } answer{};
    const bool ok = ::send(s, bytes_.data(), bytes_.size(), 0) == static_cast<ssize_t>(bytes_.size()) &&
                    ::recv(s, &answer, sizeof answer, 0) > 0 && answer.h.nlmsg_type == NLMSG_ERROR &&
                    answer.e.error == 0;
    ::close(s);
    return ok;
  }

 private:
  std::vector<char> bytes_;
};

template <class Fill>
bool interface_call(const std::string& name, unsigned long call, ifreq* r, Fill fill) {
  const int s = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  *r = {};
  name.copy(r->ifr_name, IFNAMSIZ - 1);
  fill(*r);
  const bool ok = ::ioctl(s, call, r) == 0;
  ::close(s);
  return ok;
}

}  // namespace

bool make_veth(const std::string& a, const std::string& b) {
  Message m{RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL};
  m.text(IFLA_IFNAME, a);
  const std::size_t info = m.open(IFLA_LINKINFO);
  m.text(IFLA_INFO_KIND, "veth");
  const std::size_t data = m.open(IFLA_INFO_DATA), peer = m.open(VETH_INFO_PEER);
  const ifinfomsg none{};
  m.append(&none, sizeof none);
  m.text(IFLA_IFNAME, b);
  m.close(peer);
  m.close(data);
  m.close(info);
  return m.done();
}

bool delete_link(const std::string& name) {
  Message m{RTM_DELLINK, 0};
  m.text(IFLA_IFNAME, name);
  return m.done();
}

int link_flags(const std::string& name) {
  ifreq r;
  return interface_call(name, SIOCGIFFLAGS, &r, [](ifreq&) {}) ? static_cast<unsigned short>(r.ifr_flags) : 0;
}

int link_mtu(const std::string& name) {
  ifreq r;
  return interface_call(name, SIOCGIFMTU, &r, [](ifreq&) {}) ? r.ifr_mtu : 0;
}

bool set_link_mtu(const std::string& name, int mtu) {
  ifreq r;
  return interface_call(name, SIOCSIFMTU, &r, [mtu](ifreq& q) { q.ifr_mtu = mtu; });
}

bool set_link_up(const std::string& name, bool up) {
  const int flags = link_flags(name);
  ifreq r;
  return interface_call(name, SIOCSIFFLAGS, &r, [&](ifreq& q) {
    q.ifr_flags = static_cast<short>(up ? flags | IFF_UP : flags & ~IFF_UP);
  });
}

bool set_link_address(const std::string& name, const char* address) {
  ifreq r;
  return interface_call(name, SIOCSIFADDR, &r, [&](ifreq& q) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    ::inet_pton(AF_INET, address, &in.sin_addr);
    std::memcpy(&q.ifr_addr, &in, sizeof in);
  });
}

}  // namespace iopkt::abi_test
