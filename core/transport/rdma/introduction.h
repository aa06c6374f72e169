// SPDX-License-Identifier: LGPL-2.1-or-later
// The first words of a client over RDMA, up to what it was granted. Functions, thread-safe.
#pragma once

#include <memory>

#include "base/clock.h"
#include "heca/status.h"
#include "transport/channel.h"
#include "transport/rdma/link.h"
#include "transport/rdma/registered.h"
#include "wire/rdma.h"

namespace heca::transport::rdma {

/// A connection that was admitted and is no channel yet.
struct Introduced {
  std::unique_ptr<Link> link;  ///< connected; goes last, with the domain of what is registered
  Registered answers;          ///< posted as receives
  wire::RdmaReply reply;
};
/// The server's refusal keeps its code and text.
Result<Introduced> Introduce(const Endpoint& endpoint, const Hello& hello, Deadline deadline);

}  // namespace heca::transport::rdma
