// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/doctor.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <string>

#include "base/size.h"

namespace heca::node {
namespace {

using control::DoctorCheck;
using control::Verdict;

DoctorCheck CheckKernel(const Patient& patient) {
  if (!patient.config.compute) return {"userfaultfd", Verdict::kOk, "not needed: this hecad only lends", ""};
  if (!patient.abilities.sufficient) {
    return {"userfaultfd", Verdict::kFail, "this kernel lacks MINOR, WP or REMOVE for shared memory",
            "run Linux 6.1 or newer with CONFIG_USERFAULTFD"};
  }
  if (!patient.abilities.device) {
    return {"userfaultfd", Verdict::kWarn, "/dev/userfaultfd cannot be opened: unprivileged QEMUs cannot be captured",
            "run hecad as root, or give it access to /dev/userfaultfd"};
  }
  return {"userfaultfd", Verdict::kOk, "/dev/userfaultfd, with all features that are needed", ""};
}

DoctorCheck CheckPoison(const Patient& patient) {
  if (patient.abilities.poison) return {"poison", Verdict::kOk, "lost pages can be poisoned where asked for", ""};
  return {"poison", Verdict::kWarn, "UFFDIO_POISON is missing: --on-loss poison is refused", "run Linux 6.6 or newer"};
}

DoctorCheck CheckTmpfs(const std::string& name, const std::string& path) {
  struct statfs stat {};
  if (::statfs(path.c_str(), &stat) != 0) return {name, Verdict::kWarn, path + " cannot be looked at", "make the directory"};
  if (stat.f_type == TMPFS_MAGIC) return {name, Verdict::kOk, path + " is on tmpfs", ""};
  return {name, Verdict::kWarn, path + " is not on tmpfs: its pages are written to a disk",
          "put it on a tmpfs, e.g. below /run or /dev/shm"};
}

DoctorCheck CheckPeer(const control::PeerInfo& peer) {
  const std::string name = "peer " + peer.name;
  if (peer.health == control::PeerHealth::kAlive || peer.health == control::PeerHealth::kRestarted) {
    return {name, Verdict::kOk, peer.endpoint + " lends, " + FormatSize(peer.free) + " free", ""};
  }
  return {name, Verdict::kWarn, peer.endpoint + " does not answer" + (peer.trouble.empty() ? "" : ": " + peer.trouble),
          "start hecad there, or correct its address in hecad.toml"};
}

DoctorCheck CheckRegion(const control::RegionInfo& region) {
  const std::string name = "region " + region.name;
  if (region.trouble.empty()) return {name, Verdict::kOk, "I/O rule in force: " + region.io_rule, ""};
  if (region.state == control::RegionState::kResuming) {
    return {name, Verdict::kFail, "not taken back yet: " + region.trouble, "mend that; hecad tries again by itself"};
  }
  return {name, Verdict::kFail, region.trouble, "bring its sponsor back with its memory; `hecactl events` tells more"};
}

DoctorCheck CheckRdmaPort(const transport::RdmaDevice& device, const transport::RdmaPort& port) {
  const std::string name = "rdma " + device.name + "/" + std::to_string(port.number);
  std::string text = device.transport + " over " + port.link_layer + ", " + port.state + ", MTU " + std::to_string(port.active_mtu);
  for (const auto& gid : port.gids) text.append(", GID ").append(gid);
  if (port.active()) return {name, Verdict::kOk, text, ""};
  return {name, Verdict::kWarn, text, "set its link up (rdma link show, ip link); until then pages travel by TCP"};
}

void AddRdma(const Result<std::vector<transport::RdmaDevice>>& devices, std::vector<DoctorCheck>& checks) {
  if (!devices.ok()) {
    const bool left_out = devices.status().code() == ErrorCode::kUnsupported;  // by whoever built it
    checks.push_back({"rdma", left_out ? Verdict::kOk : Verdict::kWarn,
                      std::string(devices.status().message()) + ": pages travel by TCP",
                      left_out ? "" : "rdma link show tells what this host has"});
    return;
  }
  if (devices->empty()) checks.push_back({"rdma", Verdict::kOk, "no device: pages travel by TCP", ""});
  for (const auto& device : *devices) {
    for (const auto& port : device.ports) checks.push_back(CheckRdmaPort(device, port));
  }
}

}  // namespace

std::vector<DoctorCheck> Examine(const Patient& patient) {
  std::vector<DoctorCheck> checks{CheckKernel(patient), CheckPoison(patient),
                                  CheckTmpfs("run-dir", patient.config.run_dir)};
  if (patient.config.donate.value() > 0) checks.push_back(CheckTmpfs("slab-dir", patient.config.slab_dir));
  if (patient.config.compute && patient.peers.empty()) {
    checks.push_back({"peers", Verdict::kWarn, "no peers: nothing can be borrowed", "add [[peer]] to hecad.toml"});
  }
  AddRdma(patient.rdma, checks);
  for (const auto& peer : patient.peers) checks.push_back(CheckPeer(peer));
  for (const auto& region : patient.regions) checks.push_back(CheckRegion(region));
  return checks;
}

}  // namespace heca::node
