// The engine: the stack, its shards' threads, the interfaces, the clients, and the verbs that need them. See application.hpp.
#pragma once

#include "application.hpp"

namespace iopkt::daemon {

/// The EngineFactory of the product.
std::unique_ptr<Engine> make_stack_engine(const EngineContext& context);

}  // namespace iopkt::daemon
