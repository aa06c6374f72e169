// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/devices.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>

#include "transport/rdma/verbs.h"

namespace heca::transport {
namespace {

struct Close {
  void operator()(ibv_context* device) const { ibv_close_device(device); }
  void operator()(ibv_device** list) const { ibv_free_device_list(list); }
};

std::string StateName(ibv_port_state state) {
  switch (state) {
    case IBV_PORT_ACTIVE: return "active";
    case IBV_PORT_ARMED: return "armed";
    case IBV_PORT_INIT: return "initializing";
    case IBV_PORT_DOWN: return "down";
    case IBV_PORT_ACTIVE_DEFER: return "deferred";
    case IBV_PORT_NOP: break;
  }
  return "unknown";
}

std::vector<std::string> Gids(ibv_context& device, std::uint8_t port, int entries) {
  std::vector<std::string> gids;
  for (int i = 0; i < entries; ++i) {
    ibv_gid gid{};
    if (ibv_query_gid(&device, port, i, &gid) != 0) continue;
    if (std::all_of(std::begin(gid.raw), std::end(gid.raw), [](std::uint8_t byte) { return byte == 0; })) continue;
    gids.push_back(rdma::Text(gid));
  }
  return gids;
}

RdmaPort DescribePort(ibv_context& device, std::uint8_t number) {
  RdmaPort port;
  port.number = number;
  ibv_port_attr found{};
  if (ibv_query_port(&device, number, &found) != 0) return port;
  port.state = StateName(found.state);
  port.link_layer = found.link_layer == IBV_LINK_LAYER_ETHERNET ? "Ethernet" : "InfiniBand";
  port.active_mtu = rdma::Size(found.active_mtu);
  port.gids = Gids(device, number, found.gid_tbl_len);
  return port;
}

}  // namespace

Result<std::vector<RdmaDevice>> RdmaDevices() {
  int count = 0;
  const std::unique_ptr<ibv_device*, Close> list(ibv_get_device_list(&count));
  std::vector<RdmaDevice> devices;
  if (!list) {
    if (errno == ENOSYS) return devices;  // the kernel has no RDMA at all
    return Status::FromErrno(errno, "listing RDMA devices");
  }
  for (ibv_device* const entry : std::span(list.get(), static_cast<std::size_t>(count))) {
    const std::unique_ptr<ibv_context, Close> device(ibv_open_device(entry));
    ibv_device_attr limits{};
    if (!device || ibv_query_device(device.get(), &limits) != 0) continue;  // it has just gone
    RdmaDevice found;
    found.name = ibv_get_device_name(entry);
    found.transport = entry->transport_type == IBV_TRANSPORT_IWARP ? "iWARP" : "InfiniBand";
    found.max_outstanding_reads = static_cast<std::uint32_t>(std::max(limits.max_qp_rd_atom, 0));
    found.max_registered_bytes = limits.max_mr_size;
    for (std::uint8_t port = 1; port <= limits.phys_port_cnt; ++port) found.ports.push_back(DescribePort(*device, port));
    devices.push_back(std::move(found));
  }
  return devices;
}

}  // namespace heca::transport
