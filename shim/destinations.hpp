// Where a datagram socket may send to. The ring takes a datagram without a word from the stack, but sendto() has to say at once that
// there is no route: so a destination that this process has neither sent to nor heard from is asked for first.
#pragma once

#include "ipc/datagram_ring.hpp"
#include "shim/process.hpp"

namespace iopkt::shim {

/// Whether the caller may send extension headers or a source route with a datagram. 0 or an errno.
int check_extensions(const Socket& s);
/// Whether the socket may send with that flow label. 0 or an errno.
int check_flow_label(const Socket& s, std::uint32_t label);
/// 0, or what sendto() of `length` bytes answers: ENETUNREACH, EHOSTUNREACH, EACCES (a broadcast), EMSGSIZE, ... Without a destination
/// in the header it goes to the peer, of which only the length is judged.
int check_destination(const Socket& s, const ipc::RecordHeader& header, std::size_t length);

/// An option, a new name or peer of the socket: what was allowed is to be asked for again.
inline void change_rules(const Socket& s) {
  client_word(s, ClientWord::rules).fetch_add(1, std::memory_order_relaxed);
}

/// A datagram came from there: answers go without a question.
void heard_from(const Socket& s, const ipc::SharedEndpoint& peer);

}  // namespace iopkt::shim
