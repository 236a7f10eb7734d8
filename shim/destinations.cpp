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

Place place_of(const Socket& s, const ipc::SharedEndpoint& peer) {
  std::uint64_t address[2];
  memcpy(address, peer.addr, sizeof address);
  const std::uint32_t version = ipc::status_page(s.link->status).network.load(std::memory_order_acquire);
  const std::uint32_t incarnation = s.slot->incarnation.load(std::memory_order_relaxed);
  const std::uint64_t rules = client_word(s, ClientWord::rules).load(std::memory_order_relaxed);
  const std::uint64_t where = mixed(std::uint64_t{s.number} << 32 | peer.scope) ^ mixed(address[0] ^ mixed(address[1] ^ peer.family));
  const std::uint64_t state = mixed(std::uint64_t{incarnation} << 32 | version) + rules;
  return {g_known[where % kKnown], mixed(where ^ mixed(state)) | 1};
}

}  // namespace

int check_destination(const Socket& s, const ipc::RecordHeader& header) {
  using Header = ipc::RecordHeader;
  // What one datagram asks for differently the stack judges with the datagram; a confined process may not ask.
  if ((header.flags & (Header::has_pktinfo | Header::dont_route)) != 0 || confined()) return 0;
  const Place place = place_of(s, header.remote);
  if (place.at.load(std::memory_order_relaxed) == place.word) return 0;
  sockaddr_in6 to;  // room for either
  socklen_t length = sizeof to;
  give_address(header.remote, domain_of(s), reinterpret_cast<sockaddr*>(&to), &length);
  if (!s.alive()) return ENETDOWN;
  Request request;
  // Who cannot ask, for want of descriptors, say, sends: the stack judges later.
  if (request.error() != 0 || request.link() != s.link) return 0;
  ipc::Empty none;
  const int error = request.call<ipc::MessageId::check_destination>(
      {.slot = s.name, .flags = 0, .reserved = 0}, none, {reinterpret_cast<const std::byte*>(&to), length});
  if (error == ENETDOWN && !has_connection()) return s.alive() ? 0 : ENETDOWN;
  if (error == 0) place.at.store(place.word, std::memory_order_relaxed);
  return error;
}

void heard_from(const Socket& s, const ipc::SharedEndpoint& peer) {
  const Place place = place_of(s, peer);
  if (place.at.load(std::memory_order_relaxed) != place.word)
    place.at.store(place.word, std::memory_order_relaxed);
}

}  // namespace iopkt::shim
