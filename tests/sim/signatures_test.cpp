// TCP-MD5 (RFC 2385) and TCP-AO (RFC 5925) between whole stacks: what is taken, what is refused by which name, and how keys change.
#include <gtest/gtest.h>

#include <cstring>

#include "socket/numbers.hpp"
#include "tests/support/sim_net.hpp"
#include "wire/checksum.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv6.hpp"
#include "wire/tcp.hpp"

namespace iopkt::sim {
namespace {

namespace num = socket::num;
using packet::Drop;
using socket::Errno;
using wire::Endpoint;
using wire::Ipv4Address;
using wire::Port;

constexpr std::uint32_t kSetCurrent = 1, kSetNext = 2, kRequired = 4;

/// The structures of linux/tcp.h, field by field.
class Struct {
 public:
  explicit Struct(const wire::IpAddress& peer, bool v6_socket = false) {
    u16(v6_socket ? 10 : 2), u16(0);
    if (v6_socket) {
      u32(0);
      if (peer.is_v4()) fill(10), u16(0xffff), be32(peer.v4().value);
      else for (const std::uint8_t byte : peer.v6().bytes) u8(byte);
    } else {
      be32(peer.v4().value);
    }
    fill(128);
  }
  Struct& u8(std::uint32_t v) { return out_.push_back(static_cast<std::byte>(v)), *this; }
  Struct& u16(std::uint32_t v) { return u8(v & 255), u8(v >> 8); }
  Struct& u32(std::uint32_t v) { return u16(v & 0xffff), u16(v >> 16); }
  Struct& be32(std::uint32_t v) { return u8(v >> 24), u8(v >> 16 & 255), u8(v >> 8 & 255), u8(v & 255); }
  Struct& text(const std::string& s, std::size_t size) {
    const std::size_t end = out_.size() + size;
    for (const char c : s) u8(static_cast<std::uint8_t>(c));
    return fill(end);
  }
  /// Zeroes up to this length.
  Struct& fill(std::size_t size) { return out_.resize(size), *this; }
  operator Bytes() const { return out_; }  // NOLINT: as an option's value

 private:
  std::vector<std::byte> out_;
};

Struct md5(const wire::IpAddress& peer, const std::string& key, int prefix = -1, bool v6_socket = false) {
  Struct s(peer, v6_socket);
  s.u8(prefix >= 0 ? 1 : 0).u8(prefix >= 0 ? static_cast<std::uint32_t>(prefix) : 0).u16(static_cast<std::uint32_t>(key.size())).u32(0);
  return s.text(key, 80);
}

struct AoKey {
  std::string secret = "secret", algorithm = "hmac(sha1)";
  std::uint32_t send_id = 1, receive_id = 1, flags = 0, mac_len = 0, key_flags = 0, prefix = 32;
};
Struct ao(const wire::IpAddress& peer, const AoKey& k) {
  Struct s(peer);
  s.text(k.algorithm, 64).u32(0).u32(k.flags).u16(0).u8(k.prefix).u8(k.send_id).u8(k.receive_id).u8(k.mac_len).u8(k.key_flags);
  return s.u8(static_cast<std::uint32_t>(k.secret.size())).text(k.secret, 80);
}
Struct ao_delete(const wire::IpAddress& peer, std::uint32_t send_id, std::uint32_t receive_id, std::uint32_t flags = 0, std::uint32_t current = 0,
                 std::uint32_t next = 0) {
  return Struct(peer).u32(0).u32(flags).u16(0).u8(32).u8(send_id).u8(receive_id).u8(current).u8(next).u8(0);
}
std::vector<std::byte> ao_info(std::uint32_t flags, std::uint8_t current = 0, std::uint8_t next = 0) {
  std::vector<std::byte> out(48);
  out[0] = static_cast<std::byte>(flags), out[6] = std::byte{current}, out[7] = std::byte{next};
  return out;
}

class SimSignatures : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  void SetUp() override {
    net.wire({&a, &b}, {});
    listener = b.listen(Port{179}, [&](Host::Stream& s) { taken = &s; });
    net.tap = [&](const Host&, Frame& frame) {
      const auto ip = wire::Ipv4View::parse(Bytes{frame}.subspan(14));
      if (!ip || ip->header().protocol != wire::IpProtocol::tcp) return true;
      const auto tcp = wire::TcpView::parse(ip->payload());
      seen.push_back(tcp->header());
      longest = std::max(longest, tcp->payload().size());
      if (change) {
        Frame copy = frame;
        if (!change(copy)) return true;
        frame = copy;
      }
      return true;
    };
  }
  Errno set(Host& host, std::uint32_t shard, stack::SocketId id, int name, Bytes value) {
    return host.shard(shard).set_option(id, num::kSolTcp, name, value, true);
  }
  Errno set(Host::Stream& s, int name, Bytes value) { return set(*s.host, s.shard, s.id, name, value); }
  Errno set_listener(int name, Bytes value) { return set(b, 0, listener, name, value); }
  bool opens(Host::Stream& s) {
    a.connect(s, {b.address(), Port{179}});
    return net.run_until([&] { return s.connected && taken != nullptr; }, 20s);
  }
  /// 100 KB each way, and the end of it in both directions.
  void transfer(Host::Stream& s) {
    for (Host::Stream* one : {&s, taken}) {
      const auto more = net.random_bytes(100'000);
      one->to_send.insert(one->to_send.end(), more.begin(), more.end());
    }
    s.shutdown_after_send = taken->shutdown_after_send = true;
    ASSERT_TRUE(net.run_until([&] { return s.peer_fin && taken->peer_fin; }, 60s)) << net.trace();
    EXPECT_EQ(taken->received, s.to_send);
    EXPECT_EQ(s.received, taken->to_send);
    s.close(), taken->close();
    net.run_for(100s);
    EXPECT_TRUE(s.released) << "TIME-WAIT ends, too";
  }
  std::vector<std::uint8_t> key_ids() const {
    std::vector<std::uint8_t> out;
    for (const wire::TcpHeader& h : seen)
      if (out.empty() || out.back() != h.options.signature.key_id) out.push_back(h.options.signature.key_id);
    return out;
  }

  SimNet net{5};
  Host& a = net.host("10.0.0.1/24", {.shards = GetParam()});
  Host& b = net.host("10.0.0.2/24", {.shards = GetParam()});
  wire::IpAddress kA{Ipv4Address{10, 0, 0, 1}}, kB{Ipv4Address{10, 0, 0, 2}};
  stack::SocketId listener;
  Host::Stream* taken = nullptr;
  std::vector<wire::TcpHeader> seen;
  std::size_t longest = 0;
  std::function<bool(Frame&)> change;
};
INSTANTIATE_TEST_SUITE_P(Shards, SimSignatures, ::testing::Values(1u, 2u));

TEST_P(SimSignatures, Md5SignsEverySegmentOfAConnection) {
  Host::Stream& s = a.stream();
  ASSERT_EQ(set(s, num::tcp_md5sig, md5(kB, "secret")), Errno::ok);
  ASSERT_EQ(set_listener(num::tcp_md5sig, md5(kA, "secret")), Errno::ok);
  ASSERT_TRUE(opens(s)) << net.trace();
  transfer(s);
  for (const wire::TcpHeader& h : seen) {
    EXPECT_EQ(h.options.signature.kind, wire::TcpSignature::Kind::md5);
    EXPECT_FALSE(h.options.timestamps) << "no room for SACK otherwise";
  }
  EXPECT_LE(longest, 1460u - 20) << "devices cannot sign what they cut";
  EXPECT_EQ(a.drops() + b.drops(), 0u);
  EXPECT_GT(b.tcp_counters().signatures_good, 70u);
}

TEST_P(SimSignatures, AnAcceptedConnectionKeepsNoMoreThanItsPeersKeys) {
  constexpr std::uint32_t kOthers = 60, kGenerations = 20;
  for (std::uint32_t generation = 0; generation < kGenerations; ++generation) {
    const std::string secret = "key " + std::to_string(generation);
    ASSERT_EQ(set_listener(num::tcp_md5sig_ext, md5(kA, secret, 32)), Errno::ok);
    for (std::uint8_t i = 0; i < kOthers; ++i)
      ASSERT_EQ(set_listener(num::tcp_md5sig_ext, md5(Ipv4Address{172, 16, 0, i}, secret, 32)), Errno::ok);
    Host::Stream& s = a.stream();
    ASSERT_EQ(set(s, num::tcp_md5sig, md5(kB, secret)), Errno::ok);
    taken = nullptr;
    ASSERT_TRUE(opens(s)) << net.trace();
  }
  net.run_for(1s);
  EXPECT_EQ(b.stack().key_accounts()->held(0), kOthers + kGenerations) << "the others' of now, and one for each connection";
}

TEST_P(SimSignatures, Md5OfAnotherKeyIsAMismatch) {
  Host::Stream& s = a.stream();
  ASSERT_EQ(set(s, num::tcp_md5sig, md5(kB, "secret")), Errno::ok);
  ASSERT_EQ(set_listener(num::tcp_md5sig, md5(kA, "Secret")), Errno::ok);
  EXPECT_FALSE(opens(s));
  EXPECT_GE(b.drops(Drop::tcp_signature_mismatch), 2u);
}

TEST_P(SimSignatures, AnUnsignedSynFromAPeerWithAKeyIsMissingItsSignature) {
  Host::Stream& s = a.stream();
  ASSERT_EQ(set_listener(num::tcp_md5sig, md5(kA, "secret")), Errno::ok);
  EXPECT_FALSE(opens(s));
  EXPECT_GE(b.drops(Drop::tcp_signature_missing), 2u);
}

TEST_P(SimSignatures, ASignatureThatThereIsNoKeyForIsUnexpected) {
  Host::Stream& s = a.stream();
  ASSERT_EQ(set(s, num::tcp_md5sig, md5(kB, "secret")), Errno::ok);
  EXPECT_FALSE(opens(s));
  EXPECT_GE(b.drops(Drop::tcp_signature_unexpected), 2u);
}

TEST_P(SimSignatures, ARstWithoutASignatureEndsNothing) {
  Host::Stream& s = a.stream();
  ASSERT_EQ(set(s, num::tcp_md5sig, md5(kB, "secret")), Errno::ok);
  ASSERT_EQ(set_listener(num::tcp_md5sig_ext, md5(kA, "secret", 8)), Errno::ok);
  ASSERT_TRUE(opens(s));
  const wire::TcpHeader last = seen.back();
  wire::TcpHeader rst{.src = last.src, .dst = last.dst, .seq = last.seq, .flags = wire::rst};
  std::vector<std::byte> tcp(wire::encoded_len(rst));
  wire::encode(rst, tcp);
  store_be16(tcp, 16, wire::finish(wire::sum(tcp, wire::pseudo_header_sum(kA, kB, wire::IpProtocol::tcp, 20))));
  const wire::Ipv4Header ip{.ttl = 64, .protocol = wire::IpProtocol::tcp, .src = a.address(), .dst = b.address(), .payload_len = 20};
  Frame frame(14 + wire::encoded_len(ip));
  wire::store_mac(frame, 0, {{0x02, 0, 0, 0, 0, 2}}), wire::store_mac(frame, 6, {{0x02, 0, 0, 0, 0, 1}});
  store_be16(frame, 12, 0x0800);
  wire::encode(ip, MutableBytes{frame}.subspan(14));
  frame.insert(frame.end(), tcp.begin(), tcp.end());
  b.receive(frame);
  net.run_for(1s);
  EXPECT_EQ(b.drops(Drop::tcp_signature_missing), 1u);
  EXPECT_FALSE(taken->failed);
  transfer(s);
}

TEST_P(SimSignatures, Md5KeysAreSetFoundAndDeletedAsOnTheHost) {
  Host::Stream& s = a.stream();
  EXPECT_EQ(set(s, num::tcp_md5sig, Bytes{md5(kB, "x")}.first(215)), Errno::inval);
  EXPECT_EQ(set(s, num::tcp_md5sig, md5(kB, "")), Errno::noent);
  EXPECT_EQ(set(s, num::tcp_md5sig_ext, md5(kB, "x", 33)), Errno::inval);
  EXPECT_EQ(set(s, num::tcp_md5sig, md5(kB, "x", -1, true)), Errno::inval) << "AF_INET6 on a socket of AF_INET";
  EXPECT_EQ(set(s, num::tcp_md5sig, md5(kB, "x")), Errno::ok);
  EXPECT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {})), Errno::keyrejected);
  EXPECT_EQ(set(s, num::tcp_md5sig, md5(kB, "")), Errno::ok);
  EXPECT_EQ(set(s, num::tcp_md5sig, md5(kB, "")), Errno::noent);
  EXPECT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {})), Errno::ok);
  EXPECT_EQ(set(s, num::tcp_md5sig, md5(kB, "x")), Errno::keyrejected);
}

TEST_P(SimSignatures, AoSignsEverySegmentWithBothAlgorithms) {
  const AoKey kinds[] = {{}, {.algorithm = "cmac(aes128)", .send_id = 7, .receive_id = 9}, {.secret = "sixteen bytes it", .algorithm = "cmac(aes128)", .mac_len = 16},
                         {.key_flags = 2}};
  for (const AoKey& kind : kinds) {
    seen.clear(), taken = nullptr;
    Host::Stream& s = a.stream();
    AoKey other = kind;
    std::swap(other.send_id, other.receive_id);
    ASSERT_EQ(set(s, num::tcp_ao_add_key, ao(kB, kind)), Errno::ok);
    ASSERT_EQ(set_listener(num::tcp_ao_add_key, ao(kA, other)), Errno::ok);
    ASSERT_TRUE(opens(s)) << net.trace();
    transfer(s);
    for (const wire::TcpHeader& h : seen) EXPECT_EQ(h.options.signature.kind, wire::TcpSignature::Kind::ao);
    EXPECT_EQ(a.drops() + b.drops(), 0u) << net.trace();
    ASSERT_EQ(set_listener(num::tcp_ao_del_key, ao_delete(kA, other.send_id, other.receive_id)), Errno::ok);
  }
}

TEST_P(SimSignatures, AKeyIdentifierThatNobodyKnows) {
  Host::Stream& s = a.stream();
  ASSERT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {.send_id = 3})), Errno::ok);
  ASSERT_EQ(set_listener(num::tcp_ao_add_key, ao(kA, {})), Errno::ok);
  EXPECT_FALSE(opens(s));
  EXPECT_GE(b.drops(Drop::tcp_key_unknown), 2u);
}

TEST_P(SimSignatures, APeerWithoutAKeyIsRefusedWhereOneIsRequired) {
  Host::Stream& s = a.stream();
  ASSERT_EQ(set_listener(num::tcp_ao_add_key, ao(wire::IpAddress{Ipv4Address{10, 0, 0, 77}}, {})), Errno::ok);
  ASSERT_EQ(set_listener(num::tcp_ao_info, ao_info(kRequired)), Errno::ok);
  EXPECT_FALSE(opens(s));
  EXPECT_GE(b.drops(Drop::tcp_signature_missing), 2u);
}

TEST_P(SimSignatures, KeysCanBeRequiredBeforeThereAreAny) {
  Host::Stream& s = a.stream();
  ASSERT_EQ(set_listener(num::tcp_ao_info, ao_info(kRequired)), Errno::ok);
  EXPECT_FALSE(opens(s));
  EXPECT_GE(b.drops(Drop::tcp_signature_missing), 2u);
}

TEST_P(SimSignatures, TheOnlyKeyOfAConnectionStaysWhateverOthersThereAre) {
  Host::Stream& s = a.stream();
  const wire::IpAddress other{Ipv4Address{10, 0, 0, 77}};
  ASSERT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {.secret = "one", .send_id = 1, .receive_id = 1})), Errno::ok);
  ASSERT_EQ(set_listener(num::tcp_ao_add_key, ao(kA, {.secret = "one", .send_id = 1, .receive_id = 1})), Errno::ok);
  ASSERT_EQ(set_listener(num::tcp_ao_add_key, ao(other, {.secret = "two", .send_id = 1, .receive_id = 1})), Errno::ok);
  ASSERT_TRUE(opens(s));
  EXPECT_EQ(set(*taken, num::tcp_ao_del_key, ao_delete(kA, 1, 1)), Errno::busy);
  EXPECT_EQ(set(*taken, num::tcp_ao_del_key, ao_delete(other, 1, 1)), Errno::noent) << "another peer's is the listener's alone";
}

TEST_P(SimSignatures, KeysRollOverWhenTheOtherSideAsks) {
  // RFC 5925 section 3.1: whoever wants another key says so in RNextKeyID, and the peer moves.
  Host::Stream& s = a.stream();
  ASSERT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {.secret = "one", .send_id = 1, .receive_id = 2})), Errno::ok);
  ASSERT_EQ(set_listener(num::tcp_ao_add_key, ao(kA, {.secret = "one", .send_id = 2, .receive_id = 1})), Errno::ok);
  ASSERT_TRUE(opens(s));
  ASSERT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {.secret = "two", .send_id = 3, .receive_id = 4})), Errno::ok);
  ASSERT_EQ(set(*taken, num::tcp_ao_add_key, ao(kA, {.secret = "two", .send_id = 4, .receive_id = 3})), Errno::ok);
  seen.clear();
  ASSERT_EQ(set(s, num::tcp_ao_info, ao_info(kSetNext, 0, 4)), Errno::ok);
  s.to_send = net.random_bytes(100);
  net.run_for(1s);
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.front().options.signature.key_id, 1);
  EXPECT_EQ(seen.front().options.signature.next_key_id, 4);
  EXPECT_EQ(seen.back().options.signature.key_id, 4) << "the other side signs with what it was asked for";
  // Then the other direction, and the old key can go.
  ASSERT_EQ(set(s, num::tcp_ao_info, ao_info(kSetCurrent, 3)), Errno::ok);
  EXPECT_EQ(set(s, num::tcp_ao_del_key, ao_delete(kB, 3, 4)), Errno::busy);
  EXPECT_EQ(set(s, num::tcp_ao_del_key, ao_delete(kB, 1, 2)), Errno::ok);
  transfer(s);
  EXPECT_EQ(a.drops() + b.drops(), 0u) << net.trace();
}

TEST_P(SimSignatures, AoKeysAreShownAndCounted) {
  Host::Stream& s = a.stream();
  std::vector<std::byte> wanted(304);
  const auto shown = [&](int name, std::size_t room) { return a.shard(0).get_option(s.id, num::kSolTcp, name, room, wanted); };
  EXPECT_EQ(shown(num::tcp_ao_info, 48).error(), Errno::noent);
  ASSERT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {.send_id = 1, .receive_id = 2})), Errno::ok);
  EXPECT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {.send_id = 1, .receive_id = 5})), Errno::exist);
  EXPECT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {.algorithm = "hmac(md5)", .send_id = 8})), Errno::noent);
  EXPECT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {.send_id = 8, .receive_id = 8, .mac_len = 17})), Errno::inval);
  EXPECT_EQ(set(s, num::tcp_ao_del_key, ao_delete(kB, 1, 9)), Errno::noent);
  ASSERT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {.algorithm = "cmac(aes128)", .send_id = 3, .receive_id = 4})), Errno::ok);
  wanted[276] = std::byte{4};  // get_all
  wanted[272] = std::byte{9};  // room for so many
  const auto all = shown(num::tcp_ao_get_keys, 4096);
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 2 * 304u);
  EXPECT_EQ((*all)[272], 2);
  EXPECT_EQ((*all)[278], 1);
  EXPECT_EQ((*all)[279], 2);
  EXPECT_STREQ(all->substr(304 + 128, 64).c_str(), "cmac(aes128)");
  ASSERT_EQ(set_listener(num::tcp_ao_add_key, ao(kA, {.send_id = 2, .receive_id = 1})), Errno::ok);
  ASSERT_TRUE(opens(s));
  const auto info = shown(num::tcp_ao_info, 48);
  ASSERT_TRUE(info);
  std::uint64_t good = 0;
  std::memcpy(&good, info->data() + 8, sizeof good);
  EXPECT_EQ(good, 1u) << "the SYN,ACK";
}

TEST_P(SimSignatures, KeysAreShownOfTheAddressThatIsNamed) {
  Host::Stream& s = a.stream();
  const wire::IpAddress other{Ipv4Address{10, 0, 0, 9}};
  ASSERT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {.secret = "b", .send_id = 1, .receive_id = 2})), Errno::ok);
  ASSERT_EQ(set(s, num::tcp_ao_add_key, ao(other, {.secret = "other", .send_id = 1, .receive_id = 2})), Errno::ok);
  const auto secret_of = [&](const wire::IpAddress* peer, std::uint8_t prefix) -> std::string {
    std::vector<std::byte> wanted(304);
    if (peer != nullptr) {
      const Struct named(*peer);
      const Bytes bytes = named;
      std::copy(bytes.begin(), bytes.end(), wanted.begin());
    }
    wanted[278] = std::byte{1}, wanted[279] = std::byte{2}, wanted[280] = std::byte{prefix};
    const auto got = a.shard(0).get_option(s.id, num::kSolTcp, num::tcp_ao_get_keys, 304, wanted);
    return got ? got->substr(192, 80).c_str() : got.error() == Errno::noent ? "none" : "refused";
  };
  EXPECT_EQ(secret_of(&kB, 32), "b");
  EXPECT_EQ(secret_of(&other, 32), "other");
  EXPECT_EQ(secret_of(&other, 24), "none");
  EXPECT_EQ(secret_of(&kA, 32), "none");
  EXPECT_EQ(secret_of(&kA, 33), "refused");
  EXPECT_EQ(secret_of(nullptr, 0), "b") << "the first of all";
}

TEST_P(SimSignatures, AListenersKeysMayGoWithoutWaiting) {
  constexpr std::uint32_t kAsync = 4;
  ASSERT_EQ(set_listener(num::tcp_ao_add_key, ao(kA, {})), Errno::ok);
  Host::Stream& s = a.stream();
  ASSERT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {})), Errno::ok);
  EXPECT_EQ(set(s, num::tcp_ao_del_key, ao_delete(kB, 1, 1, kAsync)), Errno::inval);
  EXPECT_EQ(set_listener(num::tcp_ao_del_key, ao_delete(kA, 1, 1, kAsync)), Errno::ok);
  EXPECT_EQ(set_listener(num::tcp_ao_del_key, ao_delete(kA, 1, 1)), Errno::noent);
}

wire::Ipv4Header ip_header(wire::IpProtocol protocol, const wire::IpAddress& from, const wire::IpAddress& to, std::size_t payload) {
  wire::Ipv4Header header{.protocol = protocol, .src = from.v4(), .dst = to.v4()};
  header.ttl = 60;
  header.payload_len = static_cast<std::uint16_t>(payload);
  return header;
}

TEST_P(SimSignatures, IcmpIsNotHeededByRfc5925Section7_8) {
  ASSERT_EQ(set_listener(num::tcp_ao_add_key, ao(kA, {})), Errno::ok);
  Host::Stream& s = a.stream();
  ASSERT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {})), Errno::ok);
  ASSERT_TRUE(opens(s));
  const auto unreachable = [&](std::uint8_t code, std::uint16_t mtu) {
    const wire::TcpHeader& last = *std::ranges::find(seen, Port{179}, &wire::TcpHeader::dst);
    std::vector<std::byte> message(8 + 20 + 8);
    message[0] = std::byte{3}, message[1] = std::byte{code};
    store_be16(message, 6, mtu);
    wire::encode(ip_header(wire::IpProtocol::tcp, kA, kB, 1000), MutableBytes{message}.subspan(8));
    store_be16(message, 28, last.src.value), store_be16(message, 30, last.dst.value), store_be32(message, 32, last.seq.value);
    store_be16(message, 2, wire::finish(wire::sum(message, 0)));
    const wire::Ipv4Header header = ip_header(wire::IpProtocol::icmp, kB, kA, message.size());
    Frame frame(14 + 20);
    wire::store_mac(frame, 0, {{0x02, 0, 0, 0, 0, 1}}), wire::store_mac(frame, 6, {{0x02, 0, 0, 0, 0, 2}});
    store_be16(frame, 12, 0x0800);
    wire::encode(header, MutableBytes{frame}.subspan(14));
    frame.insert(frame.end(), message.begin(), message.end());
    a.receive(frame);
    net.run_for(1ms);
  };
  for (const std::uint8_t code : {std::uint8_t{2}, std::uint8_t{3}, std::uint8_t{4}}) unreachable(code, 600);
  EXPECT_EQ(a.drops(Drop::icmp_signed_flow), 3u);
  unreachable(1, 0);
  EXPECT_EQ(a.drops(Drop::icmp_signed_flow), 3u) << "no hard error";
  std::vector<std::byte> none(304);
  const auto info = [&] { return *a.shard(0).get_option(s.id, num::kSolTcp, num::tcp_ao_info, 48, none); };
  EXPECT_EQ(info()[40], 3) << "pkt_dropped_icmp";
  ASSERT_EQ(set(s, num::tcp_ao_info, ao_info(16)), Errno::ok);
  EXPECT_EQ(info()[0] & 16, 16);
  unreachable(4, 600);
  EXPECT_EQ(a.drops(Drop::icmp_signed_flow), 3u) << "the program takes them";
}

TEST_P(SimSignatures, SequenceNumbersThatWrapChangeTheExtension) {
  // RFC 5925 section 6.2. The clock of RFC 6528 moves by one in 4 us: the second connection of the same ports begins just before 2^32.
  ASSERT_EQ(set_listener(num::tcp_ao_add_key, ao(kA, {})), Errno::ok);
  std::uint32_t isn = 0;
  for (int i = 0; i < 2; ++i) {
    seen.clear(), taken = nullptr;
    Host::Stream& s = a.stream();
    ASSERT_EQ(set(s, num::tcp_ao_add_key, ao(kB, {})), Errno::ok);
    ASSERT_EQ(a.shard(0).bind(s.id, {kA, Port{4000}}), Errno::ok);
    ASSERT_TRUE(opens(s)) << net.trace();
    isn = seen.front().seq.value;
    s.to_send = net.random_bytes(60'000);
    s.close_after_send = true;
    ASSERT_TRUE(net.run_until([&] { return taken->peer_fin; }, 60s)) << net.trace();
    EXPECT_EQ(taken->received, s.to_send);
    taken->close();
    net.run_for(100s);
    if (i == 0) net.run_for(std::chrono::microseconds{4} * (0u - isn - 100s / std::chrono::microseconds{4} - 30'000));
  }
  EXPECT_GT(isn, 0u - 60'000u) << "it did wrap";
  EXPECT_EQ(a.drops(Drop::tcp_signature_mismatch) + b.drops(Drop::tcp_signature_mismatch), 0u);
}

}  // namespace
}  // namespace iopkt::sim
