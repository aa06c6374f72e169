// SPDX-License-Identifier: LGPL-2.1-or-later
// Endpoint::Parse: what it accepts prints as text that parses to the same.
#include <cstdlib>

#include "transport/channel.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using heca::transport::Endpoint;
  const auto endpoint = Endpoint::Parse({reinterpret_cast<const char*>(data), size});
  if (!endpoint.ok()) return 0;
  const auto again = Endpoint::Parse(endpoint->ToString());
  if (!again.ok() || again->host != endpoint->host || again->port != endpoint->port) std::abort();
  return 0;
}
