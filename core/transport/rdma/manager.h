// SPDX-License-Identifier: LGPL-2.1-or-later
// Words with the connection manager. Functions, thread-safe for distinct channels.
#pragma once

#include <netinet/in.h>

#include "base/clock.h"
#include "heca/status.h"
#include "transport/channel.h"
#include "transport/rdma/verbs.h"

namespace heca::transport::rdma {

using Event = Owned<rdma_cm_event>;

Status DoNotBlock(int fd);
/// Where the manager tells of its ids; its descriptor does not block.
Result<Owned<rdma_event_channel>> OpenEvents();
Result<Owned<rdma_cm_id>> MakeId(rdma_event_channel& events);
/// An event that is there, or null.
Result<Event> TakeEvent(rdma_event_channel& events);
/// The next one, whatever it is.
Result<Event> AwaitEvent(rdma_event_channel& events, Deadline deadline);
/// kUnavailable, with the event's name and reason, unless it is the one that is wanted.
Result<Event> Await(rdma_event_channel& events, rdma_cm_event_type wanted, Deadline deadline);

/// Numeric addresses and names; a name may block in the resolver.
Result<sockaddr_storage> Resolve(const Endpoint& endpoint, bool passive);
Endpoint ToEndpoint(const sockaddr& address);

}  // namespace heca::transport::rdma
