// SPDX-License-Identifier: LGPL-2.1-or-later
// What every lobby does alike with a hello that it has heard. Functions; as thread-safe as the admission.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "heca/status.h"
#include "transport/server.h"
#include "wire/hello.h"

namespace heca::transport {

/// The hello's memory, unless as many connections are served as may be, or its pages are none that travel.
Result<std::shared_ptr<SlotMemory>> Admit(Admission& admission, const Hello& hello, std::size_t served, std::size_t most);
/// What the connection may do.
wire::HelloReply Grant(const SlotMemory& memory, std::uint16_t credits, std::uint32_t window_bytes);

}  // namespace heca::transport
