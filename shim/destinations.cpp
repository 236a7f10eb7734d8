// The memory of destinations: a word for each, which also names the socket and the state of routes and interfaces. A word that is lost
// costs a question.
#include "shim/destinations.hpp"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "shim/addresses.hpp"
#include "shim/confine.hpp"
#include "shim/sockets.hpp"

namespace iopkt::shim {

namespace {

constexpr std::size_t kKnown = 256;  // a power of two
constinit std::atomic<std::uint64_t> g_known[kKnown];

constexpr std::uint64_t mixed(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

struct Place {
  std::atomic<std::uint64_t>& at;
  std::uint64_t word;
};

/// `length`: 0, any.
Place place_of(const Socket& s, const ipc::SharedEndpoint& peer, std::uint64_t length = 0) {
  std::uint64_t address[2];
  memcpy(address, peer.addr, sizeof address);
  const std::uint32_t version = ipc::status_page(s.link->status).network.load(std::memory_order_acquire);
  const std::uint32_t incarnation = s.slot->incarnation.load(std::memory_order_relaxed);
  const std::uint64_t rules = client_word(s, ClientWord::rules).load(std::memory_order_relaxed);
  const std::uint64_t socket = mixed((std::uint64_t{s.number} << 32 | peer.scope) + mixed(length));
  const std::uint64_t where = socket ^ mixed(address[0] ^ mixed(address[1] ^ peer.family));
  const std::uint64_t state = mixed(std::uint64_t{incarnation} << 32 | version) + rules;
  return {g_known[where % kKnown], mixed(where ^ mixed(state)) | 1};
}

/// Asks the stack, unless it has said yes before.
int ask(const Socket& s, const ipc::SharedEndpoint& peer, std::size_t length, bool quiet, std::uint32_t segment = 0) {
  const Place place = place_of(s, peer, length | std::uint64_t{segment} << 32);
  if (place.at.load(std::memory_order_relaxed) == place.word) return 0;
  sockaddr_in6 to;  // room for either
  socklen_t size = sizeof to;
  give_address(peer, domain_of(s), reinterpret_cast<sockaddr*>(&to), &size);
  if (!s.alive()) return ENETDOWN;
  Request request;
  // Who cannot ask, for want of descriptors, say, sends: the stack judges later.
  if (request.error() != 0 || request.link() != s.link) return 0;
  ipc::Empty none;
  const int error = request.call<ipc::MessageId::check_destination>(
      {.slot = s.name,
       .flags = (quiet ? ipc::CheckRequest::quiet : 0) | segment << ipc::CheckRequest::segment_shift,
       .length = static_cast<std::uint32_t>(length)},
      none, {reinterpret_cast<const std::byte*>(&to), size});
  if (error == ENETDOWN && !has_connection()) return s.alive() ? 0 : ENETDOWN;
  if (error == 0) place.at.store(place.word, std::memory_order_relaxed);
  return error;
}

/// Lengths that are asked for together, so that a program that sends all lengths does not ask for each.
constexpr std::size_t kLengthStep = 256;

}  // namespace

namespace {
int ask_leave(const Socket& s, std::uint32_t what, std::uint32_t number) {
  sockaddr_in6 nobody{};
  nobody.sin6_family = static_cast<sa_family_t>(domain_of(s));
  const auto* address = reinterpret_cast<const std::byte*>(&nobody);
  return request_about<ipc::MessageId::check_destination>(s, {.slot = s.name, .flags = what, .length = number}, {address, sizeof nobody});
}
}  // namespace

int check_extensions(const Socket& s) { return confined() ? EPERM : ask_leave(s, ipc::CheckRequest::extensions, 0); }
int check_flow_label(const Socket& s, std::uint32_t label) {
  return confined() ? 0 : ask_leave(s, ipc::CheckRequest::flow_label, label);  // who may not ask: the stack judges later
}

int check_destination(const Socket& s, const ipc::RecordHeader& header, std::size_t length) {
  using Header = ipc::RecordHeader;
  // What one datagram asks for differently the stack judges with the datagram; a confined process may not ask.
  if ((header.flags & (Header::has_pktinfo | Header::dont_route | Header::more_follows)) != 0 || confined()) return 0;
  const bool named = (header.flags & Header::has_destination) != 0;
  const std::uint64_t hints = client_word(s, ClientWord::hints).load(std::memory_order_relaxed);
  // IPV6_DONTFRAG of the datagram stands for the socket's.
  const bool may_cut = (header.flags & Header::has_dont_fragment) != 0 && header.dont_fragment == 0;
  const std::uint64_t whole = Hint::dont_fragment | Hint::dont_fragment6 | Hint::header_included | (may_cut ? 0 : Hint::dont_cut6);
  const bool must_fit = (hints & whole) != 0 && length > 0;
  if (!must_fit && header.gso_size == 0) return named ? ask(s, header.remote, 0, true) : 0;
  const ipc::SharedEndpoint to = named ? header.remote : ipc::read_names(*s.slot).peer;
  if (header.gso_size != 0) return ask(s, to, length, true, header.gso_size);
  if (ask(s, to, (length + kLengthStep - 1) / kLengthStep * kLengthStep, true) == 0) return 0;
  return ask(s, to, length, false);
}

void heard_from(const Socket& s, const ipc::SharedEndpoint& peer) {
  const Place place = place_of(s, peer);
  if (place.at.load(std::memory_order_relaxed) != place.word)
    place.at.store(place.word, std::memory_order_relaxed);
}

}  // namespace iopkt::shim
