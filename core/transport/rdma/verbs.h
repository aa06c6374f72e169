// SPDX-License-Identifier: LGPL-2.1-or-later
// Owners of librdmacm's and libibverbs' objects. Whoever has several declares them so that they go in the order of the verbs:
// queue pair, completion queue, completion channel, protection domain, id, event channel.
#pragma once

#include <arpa/inet.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

namespace heca::transport::rdma {

struct Release {
  void operator()(rdma_event_channel* channel) const { rdma_destroy_event_channel(channel); }
  void operator()(rdma_cm_event* event) const { rdma_ack_cm_event(event); }
  void operator()(rdma_cm_id* id) const { rdma_destroy_id(id); }
  void operator()(ibv_pd* domain) const { ibv_dealloc_pd(domain); }
  void operator()(ibv_mr* memory) const { ibv_dereg_mr(memory); }
  void operator()(ibv_comp_channel* channel) const { ibv_destroy_comp_channel(channel); }
  void operator()(ibv_cq* queue) const { ibv_destroy_cq(queue); }
};
template <class Object>
using Owned = std::unique_ptr<Object, Release>;

/// The queue pair of an id, which must outlive it.
struct ReleaseQueuePair {
  void operator()(rdma_cm_id* id) const { rdma_destroy_qp(id); }
};
using QueuePair = std::unique_ptr<rdma_cm_id, ReleaseQueuePair>;

/// In bytes.
[[nodiscard]] inline std::uint32_t Size(ibv_mtu mtu) { return 128U << static_cast<unsigned>(mtu); }  // IBV_MTU_256 is 1
/// As an IPv6 address.
[[nodiscard]] inline std::string Text(const ibv_gid& gid) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET6, gid.raw, text.data(), text.size());
  return text.data();
}

}  // namespace heca::transport::rdma
