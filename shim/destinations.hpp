// Where a datagram socket may send to. The ring takes a datagram without a word from the stack, but sendto() has to say at once that
// there is no route: so a destination that this process has neither sent to nor heard from is asked for first.
#pragma once

#include "ipc/datagram_ring.hpp"
#include "shim/process.hpp"

namespace iopkt::shim {

/// 0, or what sendto() answers: ENETUNREACH, EHOSTUNREACH, EACCES (a broadcast), ... Only for a header with a destination.
int check_destination(const Socket& s, const ipc::RecordHeader& header);

/// A datagram came from there: answers go without a question.
void heard_from(const Socket& s, const ipc::SharedEndpoint& peer);

}  // namespace iopkt::shim
