// Sequences of what programs do, and of what no program would do, against the clients' side of a whole stack: requests in any order on
// sockets of every kind, ring units through the library's own code and by hand, positions and words that cannot be, descriptors that are
// closed, copied, shut and filled, stream mode, deaths at any moment, frames, time. A step is an opcode and what it reads; its upper
// bits say how many turns the stack makes before the next one, so that steps also meet each other in one turn.
//
// In the end all programs are gone. Then every request was answered once, no packet, socket, slot, client or descriptor is left, and
// until then a bystander was served.
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

#include "daemon/client_rig.hpp"
#include "fuzz/input.hpp"
#include "ipc/datagram_ring.hpp"
#include "ipc/offer.hpp"
#include "wire/checksum.hpp"
#include "wire/ipv4.hpp"
#include "wire/tcp.hpp"

namespace {

using namespace iopkt;
using namespace iopkt::daemon;
using fuzz::Input;
using ipc::MessageId;

constexpr std::size_t kSocketsMax = 48, kProgramsMax = 6;
constexpr int kStepsMax = 200;

void require(bool belief) {
  if (!belief) std::abort();
}

/// A process with a control connection.
struct Program {
  std::shared_ptr<Client> client;
};

/// What programs know of a socket; several may hold its descriptors.
struct Socket {
  std::shared_ptr<Client> client;
  AnsweredPtr opened;  ///< SlotAnswer, once it has come
  ipc::SlotAnswer slot{.slot = ipc::kNoSlot};
  std::vector<Fd> fds;
  std::uint16_t type = SOCK_STREAM;
};

/// The library's system calls, never asleep.
class ProgramCalls final : public ipc::ProgramIo {
 public:
  ProgramCalls(int fd, ipc::Doorbell& bell, int event, std::uint32_t number) : fd_(fd), bell_(bell), event_(event), number_(number) {}
  bool take_token() override {
    char byte;
    return ::recv(fd_, &byte, 1, MSG_DONTWAIT) == 1;
  }
  Await await_token() override {
    char byte;
    const ssize_t n = ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 1 ? Await::there : n < 0 && errno == EAGAIN ? Await::not_yet : Await::gone;
  }
  Stalled send_stall() override {
    const ipc::Unit unit = ipc::Unit::stall();
    if (::send(fd_, &unit, sizeof unit, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof unit)) return Stalled::sent;
    return errno == EAGAIN ? Stalled::again : Stalled::gone;
  }
  void yield() override {}
  std::uint64_t now_us() override { return clock_us_ += 10'000; }
  void ring() override { ipc::ring(bell_, number_, event_); }

 private:
  int fd_;
  ipc::Doorbell& bell_;
  int event_;
  std::uint32_t number_;
  std::uint64_t clock_us_ = 0;
};

sockaddr_in inet(std::uint32_t address, std::uint16_t port, sa_family_t family = AF_INET) {
  sockaddr_in in{};
  in.sin_family = family;
  in.sin_addr.s_addr = htonl(address);
  in.sin_port = htons(port);
  return in;
}

class Session {
 public:
  Session(Input& in, const ClientRig::Options& options) : in_(in), rig_(options) {
    bystander_ = rig_.greet({.pid = 0, .user = 77, .group = 77, .privileged = false});
    if (bystander_) kept_ = rig_.ask<MessageId::slot_open>(bystander_, slot_open(SOCK_DGRAM, 0));
    rig_.turn();
    add_program();
  }
  void run() {
    for (int n = 0; n < kStepsMax && !in_.empty(); ++n) {
      const std::uint8_t op = in_.u8();
      step(op & 31);
      static constexpr std::array<int, 8> kTurns{1, 1, 2, 0, 1, 4, 0, 1};
      for (int turns = kTurns[op >> 5]; turns > 0; --turns) rig_.turn();
    }
  }
  void end() {
    if (kept_ && kept_->error == 0) {
      const auto name = rig_.ask<MessageId::getsockname>(bystander_, {.slot = kept_->as<ipc::SlotAnswer>().slot});
      for (int n = 0; n < 1000 && !name->done; ++n) rig_.turn();
      require(name->done && name->error == 0);
    }
    while (!programs_.empty()) die(0);
    if (bystander_) rig_.leave(std::exchange(bystander_, nullptr));
    sockets_.clear();
    if (rig_.run_out()) return;
    std::fprintf(stderr, "left: %s\n", rig_.left().c_str());
    std::abort();
  }

 private:
  static ipc::SlotOpenRequest slot_open(std::uint16_t type, std::uint32_t protocol, std::uint16_t domain = AF_INET) {
    return {.domain = domain, .type = type, .protocol = protocol, .cookie = 0};
  }
  Program& program() { return programs_[in_.u8() % programs_.size()]; }
  Socket* socket() {
    if (sockets_.empty()) return nullptr;
    Socket& s = *sockets_[in_.u8() % sockets_.size()];
    learn(s);
    return &s;
  }
  static void learn(Socket& s) {
    if (s.opened && s.opened->done && s.opened->error == 0) s.slot = s.opened->as<ipc::SlotAnswer>();
    if (s.opened && s.opened->done) s.opened.reset();
  }
  std::shared_ptr<Arena> arena_of(const Socket& s) { return s.client->arena(ipc::arena_of(s.slot.slot)); }
  ipc::Slot* words(const Socket& s) {
    const auto arena = arena_of(s);
    return arena && ipc::index_of(s.slot.slot) < arena->slot_count ? &arena->slot(ipc::index_of(s.slot.slot)) : nullptr;
  }
  std::vector<std::byte> address() {
    static constexpr std::uint32_t kAddresses[] = {INADDR_LOOPBACK, 0,                0x0a000001, 0x0a000002,
                                                  0x7f000002,      INADDR_BROADCAST, 0xe0000001, 0xc0000201};
    const std::uint8_t how = in_.u8();
    if (how >= 250) return in_.bytes(in_.u8() % 32);
    const sockaddr_in to = inet(kAddresses[how % 8], static_cast<std::uint16_t>(7000 + in_.u8() % 8),
                                (how & 0x78) == 0x78 ? AF_UNSPEC : AF_INET);
    const auto bytes = as_bytes(&to, sizeof to);
    return {bytes.begin(), bytes.end()};
  }

  void add_program() {
    const std::uint8_t who = in_.u8();
    if (programs_.size() >= kProgramsMax) return;
    if ((who & 4) != 0 && !programs_.empty()) {  // a child of the first one
      programs_.push_back({programs_[0].client});
      programs_[0].client->holders.fetch_add(1);
      programs_[0].client->connections.fetch_add(1);
      programs_[0].client->joined = true;
      return;
    }
    const std::uint32_t user = who % 2 * 1000;
    auto client = rig_.greet({.pid = 0, .user = user, .group = user, .privileged = user == 0});
    if (client) programs_.push_back({std::move(client)});
  }
  /// Its connection closes; its descriptors too, or the kernel has others that hold them.
  void die(std::size_t n) {
    if (n >= programs_.size()) return;
    const Program gone = std::move(programs_[n]);
    programs_.erase(programs_.begin() + static_cast<std::ptrdiff_t>(n));
    const bool last = std::ranges::none_of(programs_, [&](const Program& p) { return p.client == gone.client; });
    if (last) std::erase_if(sockets_, [&](const auto& s) { return s->client == gone.client; });
    rig_.leave(gone.client);
  }

  Socket* open(std::uint16_t type, std::uint32_t protocol, std::uint16_t domain = AF_INET) {
    if (programs_.empty() || sockets_.size() >= kSocketsMax) return nullptr;
    auto made = std::make_unique<Socket>();
    const std::uint8_t where = in_.u8();
    made->client = programs_[where % programs_.size()].client;
    made->type = type;
    made->opened = rig_.ask<MessageId::slot_open>(made->client, slot_open(type, protocol, domain), {}, where >> 4);
    sockets_.push_back(std::move(made));
    return sockets_.back().get();
  }
  void attach(Socket& s, std::uint8_t how) {
    ipc::Unit hello = ipc::Unit::hello(s.client->id, s.slot.slot, s.slot.nonce, 0);
    if ((how & 0xf0) == 0xf0) hello.nonce ^= 1;
    const bool stream = (s.type == SOCK_STREAM) != ((how & 0xf0) == 0xe0);
    Fd fd = rig_.attach(s.client, hello, stream);
    if (!fd) return;
    if (stream && (how & 0xf0) != 0xd0) send_unit(fd.get(), ipc::Unit::stall());
    s.fds.push_back(std::move(fd));
  }
  static void send_unit(int fd, const ipc::Unit& unit) { ::send(fd, &unit, sizeof unit, MSG_DONTWAIT | MSG_NOSIGNAL); }

  /// A socket that is attached, and the turns that this takes.
  Socket* ready(std::uint16_t type, std::uint32_t protocol = 0) {
    Socket* s = open(type, protocol);
    if (s == nullptr) return nullptr;
    rig_.turn();
    learn(*s);
    attach(*s, 0);
    rig_.turn();
    return s;
  }
  void bind(Socket& s, std::span<const std::byte> to) {
    rig_.ask<MessageId::bind>(s.client, {.slot = s.slot.slot, .flags = 0, .reserved = 0}, to);
  }
  void connect(Socket& s, std::span<const std::byte> to) {
    rig_.ask<MessageId::connect>(s.client, {.slot = s.slot.slot, .flags = 0, .reserved = 0}, to);
  }
  void make_listener() {
    Socket* s = ready(SOCK_STREAM);
    if (s == nullptr) return;
    const sockaddr_in any = inet(0, static_cast<std::uint16_t>(7000 + in_.u8() % 8));
    bind(*s, as_bytes(&any, sizeof any));
    rig_.ask<MessageId::listen>(s->client, {.slot = s->slot.slot, .backlog = 4, .flags = 0});
    rig_.turn();
  }
  void make_connection() {
    Socket* s = ready(SOCK_STREAM);
    if (s == nullptr) return;
    const sockaddr_in to = inet(INADDR_LOOPBACK, static_cast<std::uint16_t>(7000 + in_.u8() % 8));
    connect(*s, as_bytes(&to, sizeof to));
    rig_.turn();
  }
  void make_datagram() {
    Socket* s = ready(SOCK_DGRAM, in_.u8() % 4 == 3 ? 136 : 0);
    if (s == nullptr) return;
    const sockaddr_in own = inet(INADDR_LOOPBACK, static_cast<std::uint16_t>(7000 + in_.u8() % 8));
    bind(*s, as_bytes(&own, sizeof own));
    const sockaddr_in to = inet(INADDR_LOOPBACK, static_cast<std::uint16_t>(7000 + in_.u8() % 8));
    connect(*s, as_bytes(&to, sizeof to));
  }
  /// Takes what a listener's descriptor offers, and says HELLO or not.
  void accept(Socket& listener) {
    if (listener.fds.empty() || sockets_.size() >= kSocketsMax) return;
    const std::uint8_t how = in_.u8();
    ipc::Offer offer;
    const ssize_t n = ::recvmsg(listener.fds[0].get(), offer.message(), MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n <= 0) return;
    Fd fd{offer.descriptor(static_cast<std::size_t>(n))};
    if (!fd || how % 8 == 7) return;  // and closes it
    auto made = std::make_unique<Socket>();
    made->client = listener.client;
    made->slot = {.slot = offer.hello().slot, .nonce = offer.hello().nonce, .incarnation = 0, .reserved = 0};
    if (how % 8 != 6)
      made->opened = rig_.ask<MessageId::accept_adopt>(made->client, {.slot = made->slot.slot, .nonce = made->slot.nonce});
    if (how % 8 != 5) send_unit(fd.get(), ipc::Unit::hello(made->client->id, made->slot.slot, made->slot.nonce + (how % 8 == 4), 0));
    made->fds.push_back(std::move(fd));
    sockets_.push_back(std::move(made));
  }

  /// Calls `use` with what the library's rings need, where its words are as the library and the stack left them.
  template <class Use>
  void with_library(Socket& s, Use&& use) {
    ipc::Slot* slot = words(s);
    if (slot == nullptr || s.fds.empty() || scribbled_.contains({s.client->id, s.slot.slot}) || slot->incarnation.load() != s.slot.incarnation) return;
    const std::uint32_t shard = slot->shard.load();
    const auto arena = arena_of(s);
    if (shard >= rig_.shards() || (slot->status.load() & ipc::Status::closed) != 0) return;
    ProgramCalls calls{s.fds[0].get(), s.client->bell(shard), s.client->event_fd(shard), arena->first_slot + ipc::index_of(s.slot.slot)};
    use(*slot, arena->base(), std::size_t{arena->slot_count} << 20, calls);
  }
  void write(Socket& s) {
    const std::uint8_t how = in_.u8();
    const std::size_t size = how % 16 == 15 ? 70'000 : in_.u16() % 5000;
    static const std::vector<std::byte> zeroes(70'000);
    const iovec piece{const_cast<std::byte*>(zeroes.data()), size};
    const auto to = address();
    with_library(s, [&](ipc::Slot& slot, std::byte* base, std::size_t bytes, ipc::ProgramIo& calls) {
      if (s.type == SOCK_STREAM) {
        ipc::SendRingWriter{slot, base, bytes, calls}.write({&piece, 1}, (how & 16) != 0, (how & 32) != 0);
        return;
      }
      ipc::RecordHeader header;
      if ((how & 16) != 0) header.flags |= ipc::RecordHeader::more_follows;
      if ((how & 64) != 0) header.flags |= ipc::RecordHeader::has_ttl | ipc::RecordHeader::has_tos | ipc::RecordHeader::dont_route;
      if ((how & 32) != 0 && to.size() == sizeof(sockaddr_in)) {
        header.flags |= ipc::RecordHeader::has_destination;
        sockaddr_in in;
        std::memcpy(&in, to.data(), sizeof in);
        header.remote.family = in.sin_family;
        header.remote.port = ntohs(in.sin_port);
        std::memcpy(header.remote.addr, &in.sin_addr, 4);
      }
      if ((how & 128) != 0) header.gso_size = in_.u16() % 2000;
      // Options and extension headers, good ones and any. Those of a record are refused: it says nothing of who may send them.
      static const std::vector<std::byte> none(ipc::kExtensionsMax);
      ipc::ControlBytes control;
      std::size_t used = 0;
      const int kind = ipc::ControlItem::extension_headers | ((how & 2) != 0 ? 60 : how);
      if ((how & 1) != 0) ipc::put_control(control, used, (how & 4) != 0 ? IP_RETOPTS : kind, std::span{none}.first(how * 2u));
      ipc::DatagramWriter{slot, base, bytes, calls}.write(header, {&piece, 1}, std::span{control}.first(used));
    });
  }
  void read(Socket& s) {
    const std::uint16_t most = in_.u16();
    static std::vector<std::byte> room(65536);
    const iovec piece{room.data(), most};
    with_library(s, [&](ipc::Slot& slot, std::byte* base, std::size_t bytes, ipc::ProgramIo& calls) {
      if (s.type == SOCK_STREAM) {
        ipc::ReceiveRingReader reader{slot, base, bytes, calls};
        if (most % 4 == 3) reader.set_edge();
        if (most % 4 == 2) reader.drain();
        else static_cast<void>(reader.read({&piece, 1}));
      } else {
        ipc::RecordHeader header;
        static_cast<void>(ipc::DatagramReader{slot, base, bytes, calls}.read({&piece, 1}, header));
      }
    });
  }

  void ring(const Socket& s, std::uint32_t number) {
    const std::uint32_t shard = in_.u8() % rig_.shards();
    ipc::ring(s.client->bell(shard), number, s.client->event_fd(shard));
  }
  /// By hand: words of the slot, positions that are nearly right, records.
  void scribble(Socket& s) {
    ipc::Slot* slot = words(s);
    if (slot == nullptr) return;
    scribbled_.insert({s.client->id, s.slot.slot});
    const auto arena = arena_of(s);
    const std::uint8_t what = in_.u8();
    const std::uint32_t value = in_.u32();
    const auto moved = [&](std::atomic<std::uint64_t>& word) {
      const ipc::PositionWord now{word.load()};
      word = ipc::PositionWord::make((now.position() + value % 8192 - 64) & ipc::kPositionMask, now.epoch()).bits;
    };
    switch (what % 8) {
      case 0:
        reinterpret_cast<std::atomic<std::uint64_t>*>(slot)[value % (sizeof *slot / 8)] = std::uint64_t{in_.u32()} << in_.u8() % 33;
        break;
      case 1: moved(slot->tx_tail); break;
      case 2: moved(slot->rx_head); break;
      case 3: slot->rx_word ^= value; break;
      case 4: slot->tx_word ^= value; break;
      case 5: slot->tx_lock = value; break;
      case 6: slot->kicks = value; break;
      case 7: put_record(*slot, *arena, value); break;
    }
    ring(s, arena->first_slot + ipc::index_of(s.slot.slot));
  }
  void put_record(ipc::Slot& slot, const Arena& arena, std::uint32_t value) {
    const ipc::RingRef ring{slot.tx_ring.load()};
    const std::size_t bytes = std::size_t{arena.slot_count} << 20;
    if (!ring.exists() || ring.offset() > bytes || ring.size() > bytes - ring.offset()) return;
    ipc::RecordHeader header;
    header.payload_len = value % 70'000;
    header.total_len = static_cast<std::uint32_t>(ipc::record_size(value >> 16));
    header.flags = in_.u16();
    header.remote = {.family = AF_INET, .port = static_cast<std::uint16_t>(7000 + in_.u8() % 8), .scope = 0, .addr = {127, 0, 0, 1}};
    header.gso_size = in_.u16();
    const ipc::PositionWord tail{slot.tx_tail.load()};
    for (std::size_t i = 0; i < sizeof header; ++i)
      arena.base()[ring.offset() + ((tail.position() + i) & (ring.size() - 1))] = reinterpret_cast<const std::byte*>(&header)[i];
    slot.tx_tail = ipc::PositionWord::make((tail.position() + header.total_len) & ipc::kPositionMask, tail.epoch()).bits;
  }

  /// Bytes and units through the descriptor itself.
  void through_descriptor(Socket& s) {
    if (s.fds.empty()) return;
    const int fd = s.fds[in_.u8() % s.fds.size()].get();
    const std::uint8_t how = in_.u8();
    static std::array<std::byte, 65536> bytes{};
    switch (how % 8) {
      case 0: send_unit(fd, ipc::Unit::stall()); break;
      case 1: send_unit(fd, ipc::Unit::hello(s.client->id, s.slot.slot, s.slot.nonce + how / 128, 0)); break;
      case 2: send_unit(fd, ipc::Unit::attach(s.slot.nonce)); break;
      case 3: ::send(fd, bytes.data(), in_.u16(), MSG_DONTWAIT | MSG_NOSIGNAL); break;
      case 4:
      case 5: static_cast<void>(::recv(fd, bytes.data(), how < 128 ? bytes.size() : in_.u8(), MSG_DONTWAIT)); break;
      case 6: ::shutdown(fd, in_.u8() % 3); break;
      case 7: {
        ipc::Unit unit = ipc::Unit::stall();
        iovec piece{&unit, how < 128 ? sizeof unit : 1u};
        ipc::RightsBuffer rights;
        msghdr message{};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        const Socket& other = *sockets_[in_.u8() % sockets_.size()];
        ipc::carry(message, rights, other.fds.empty() ? fd : other.fds[0].get());
        ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      }
    }
  }
  void close(Socket& s) {
    if (!s.fds.empty()) s.fds.pop_back();
  }
  void close_request(Socket& s) {
    rig_.ask<MessageId::close>(s.client, {.slot = s.slot.slot, .incarnation = s.slot.incarnation + in_.u8() / 255u, .reserved = 0});
  }

  void frame() {
    const std::uint8_t how = in_.u8();
    std::vector<std::byte> payload;
    const auto port = [&] { return static_cast<std::uint16_t>(7000 + in_.u8() % 8); };
    if (how % 4 == 0) {
      wire::TcpHeader h{.src = wire::Port{port()}, .dst = wire::Port{port()},
                        .seq = {in_.u32()}, .ack = {in_.u16()}, .flags = in_.u8(), .window = 1000};
      payload.resize(wire::encoded_len(h));
      wire::encode(h, payload);
      const auto pseudo = wire::pseudo_header_sum(ClientRig::kPeer, ClientRig::kOwn, wire::IpProtocol::tcp,
                                                  static_cast<std::uint32_t>(payload.size()));
      store_be16(payload, 16, wire::finish(wire::sum(payload, pseudo)));
    } else if (how % 4 == 3) {
      payload = in_.bytes(in_.u8());
    } else {
      payload.resize(8u + in_.u16() % 1400);
      store_be16(payload, 0, port());
      store_be16(payload, 2, port());
      store_be16(payload, 4, static_cast<std::uint16_t>(payload.size()));
    }
    const auto protocol = how % 4 == 0   ? wire::IpProtocol::tcp
                          : how % 4 == 3 ? static_cast<wire::IpProtocol>(in_.u8()) : wire::IpProtocol::udp;
    const wire::Ipv4Header ip{.mf = (how & 0xf0) == 0xf0, .ttl = 64, .protocol = protocol, .src = ClientRig::kPeer, .dst = ClientRig::kOwn,
                              .payload_len = static_cast<std::uint16_t>(payload.size())};
    std::vector<std::byte> all(14 + wire::encoded_len(ip));
    wire::store_mac(all, 0, {{2, 0, 0, 0, 0, 1}});
    wire::store_mac(all, 6, {{2, 0, 0, 0, 0, 2}});
    store_be16(all, 12, 0x0800);
    wire::encode(ip, MutableBytes{all}.subspan(14));
    all.insert(all.end(), payload.begin(), payload.end());
    rig_.receive(all);
  }

  void step(std::uint8_t op);
  void step_on(Socket& s, std::uint8_t op);
  void any_request(Socket& s);

  Input& in_;
  ClientRig rig_;
  std::vector<Program> programs_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  std::shared_ptr<Client> bystander_;
  AnsweredPtr kept_;
  std::set<std::pair<std::uint32_t, std::uint64_t>> scribbled_;  ///< client and slot: the library trusts its words
};

void Session::step(std::uint8_t op) {
  static constexpr std::array<std::uint16_t, 6> kTypes{SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_DGRAM, SOCK_SEQPACKET, 9};
  switch (op) {
    case 0: {
      const std::uint8_t kind = in_.u8();
      open(kTypes[kind % kTypes.size()], kind < 128 ? 0 : in_.u8(), (kind & 64) != 0 ? AF_INET6 : AF_INET);
      break;
    }
    case 1:
    case 2: make_listener(); break;
    case 3:
    case 4: make_connection(); break;
    case 5: make_datagram(); break;
    case 6: static_cast<void>(ready(SOCK_RAW, in_.u8())); break;
    case 7: frame(); break;
    case 8: rig_.turn(std::chrono::milliseconds{1} * (std::int64_t{1} << in_.u8() % 20)); break;
    case 9: add_program(); break;
    case 10:
      if (in_.u8() % 4 == 0) die(in_.u8() % kProgramsMax);
      break;
    case 11: rig_.arm(); break;
    default:
      if (Socket* s = socket()) step_on(*s, op);
  }
}

void Session::step_on(Socket& s, std::uint8_t op) {
  switch (op) {
    case 12: attach(s, in_.u8()); break;
    case 13: bind(s, address()); break;
    case 14: connect(s, address()); break;
    case 15: rig_.ask<MessageId::listen>(s.client, {.slot = s.slot.slot, .backlog = static_cast<std::int8_t>(in_.u8()), .flags = 0}); break;
    case 16:
    case 17: accept(s); break;
    case 18:
    case 19: write(s); break;
    case 20:
    case 21: read(s); break;
    case 22: scribble(s); break;
    case 23: through_descriptor(s); break;
    case 24: close(s); break;
    case 25: close_request(s); break;
    case 26: {
      const std::uint8_t how = in_.u8();
      if (how % 4 == 0 && s.fds.size() < 4 && !s.fds.empty()) s.fds.emplace_back(::fcntl(s.fds[0].get(), F_DUPFD_CLOEXEC, 0));
      const std::size_t word = how % 4 == 1 ? ipc::kHoldersWord : how % 4 == 2 ? ipc::kWitnessWord : ipc::kSharedWord;
      if (ipc::Slot* slot = words(s)) ipc::client_word(*slot, word) = how / 128;
      break;
    }
    case 27: rig_.ask<MessageId::shutdown>(s.client, {.slot = s.slot.slot, .how = in_.u8() % 4u, .reserved = 0}); break;
    case 28: {
      const std::uint8_t mode = in_.u8();
      rig_.ask<MessageId::set_mode>(s.client, {.slot = s.slot.slot, .mode = mode < 250 ? 1u + mode % 2 : mode, .reserved = 0});
      break;
    }
    case 29: {  // a socket's whole way into stream mode
      for (const ipc::Mode mode : {ipc::Mode::switching, ipc::Mode::stream}) {
        rig_.ask<MessageId::set_mode>(s.client, {.slot = s.slot.slot, .mode = static_cast<std::uint32_t>(mode), .reserved = 0});
        rig_.turn();
        with_library(s, [&](ipc::Slot& slot, std::byte* base, std::size_t bytes, ipc::ProgramIo& calls) {
          if (mode == ipc::Mode::switching && s.type == SOCK_STREAM) ipc::ReceiveRingReader{slot, base, bytes, calls}.drain();
        });
      }
      break;
    }
    case 30: {
      const auto value = in_.bytes(in_.u8() % 16);
      const ipc::OptionRequest option{.slot = s.slot.slot, .level = in_.u8(), .name = in_.u8(), .capacity = 0, .reserved = 0};
      rig_.ask<MessageId::setsockopt>(s.client, option, value);
      break;
    }
    default: any_request(s);
  }
}

void Session::any_request(Socket& s) {
  const std::uint8_t which = in_.u8();
  switch (which % 11) {
    case 0:
      rig_.ask<MessageId::getsockopt>(s.client, {.slot = s.slot.slot, .level = in_.u8(), .name = in_.u8(), .capacity = in_.u8(), .reserved = 0});
      break;
    case 1: rig_.ask<MessageId::getsockname>(s.client, {.slot = s.slot.slot}); break;
    case 2: rig_.ask<MessageId::getpeername>(s.client, {.slot = s.slot.slot}); break;
    case 3: rig_.ask<MessageId::check_destination>(s.client, {.slot = s.slot.slot, .flags = 0, .length = 1400}, address()); break;
    case 4: {
      static constexpr std::array<std::uint64_t, 4> kCodes{SIOCINQ, SIOCOUTQ, SIOCATMARK, SIOCGSTAMP_OLD};
      const std::uint64_t code = which < 128 ? kCodes[which / 9 % 4] : in_.u16();
      rig_.ask<MessageId::ioctl>(s.client, {.slot = s.slot.slot, .code = code, .capacity = in_.u8()}, in_.bytes(in_.u8() % 48));
      break;
    }
    case 5: rig_.ask<MessageId::lookup>(s.client, {}, in_.bytes(in_.u8() % 64)); break;
    case 6: rig_.ask<MessageId::attach_begin>(s.client, {.cookie = s.fds.empty() ? in_.u8() : ipc::socket_cookie(s.fds[0].get())}); break;
    case 7: rig_.ask<MessageId::attach_finish>(s.client, {.nonce = s.slot.nonce}); break;
    case 10: {  // a datagram with extension headers, good ones and any
      ipc::RecordHeader header;
      const std::uint8_t how = in_.u8();
      if ((how & 1) != 0) header.flags |= ipc::RecordHeader::more_follows;
      ipc::ControlBytes control;
      std::size_t used = 0;
      ipc::put_control(control, used, ipc::ControlItem::extension_headers | ((how & 2) != 0 ? 60 : 43), in_.bytes(how / 4u));
      header.control_len = static_cast<std::uint16_t>(used + (how % 32 == 31 ? 1000 : 0));
      std::vector<std::byte> blob(sizeof header);
      std::memcpy(blob.data(), &header, sizeof header);
      blob.insert(blob.end(), control.begin(), control.begin() + static_cast<std::ptrdiff_t>(used));
      const auto rest = in_.bytes(in_.u8());
      blob.insert(blob.end(), rest.begin(), rest.end());
      if (how % 32 == 30) blob.resize(how);
      rig_.ask<MessageId::send_datagram>(s.client, {.slot = s.slot.slot}, blob);
      break;
    }
    case 9: rig_.ask<MessageId::take_error>(s.client, {.slot = s.slot.slot}); break;
    case 8: rig_.ask<MessageId::accept_adopt>(s.client, {.slot = s.slot.slot, .nonce = s.slot.nonce}); break;
  }
}

std::size_t open_descriptors() {
  std::array<pollfd, 512> all{};
  for (std::size_t i = 0; i < all.size(); ++i) all[i].fd = static_cast<int>(i);
  require(::poll(all.data(), all.size(), 0) >= 0);
  return static_cast<std::size_t>(std::ranges::count_if(all, [](const pollfd& one) { return (one.revents & POLLNVAL) == 0; }));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in{data, size};
  const std::size_t before = open_descriptors();
  {
    const std::uint8_t how = in.u8();
    ClientRig::Options options;
    options.shards = 1 + how % 2;
    if ((how & 2) != 0) options.descriptors = 40;
    if ((how & 4) != 0) options.quota = {.sockets = 6, .arenas = 2, .ring_bytes = 2u << 20, .part_bytes = 100'000};
    Session session{in, options};
    session.run();
    session.end();
  }
  require(open_descriptors() == before);
  return 0;
}
