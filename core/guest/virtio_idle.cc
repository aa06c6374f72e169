// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/virtio_idle.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

namespace heca::guest {
namespace {

/// QOM path of a device that query-block names by path or by id.
std::string DevicePath(const std::string& qdev) {
  return qdev.empty() || qdev.front() == '/' ? qdev : "/machine/peripheral/" + qdev;
}

bool IsAt(const std::string& path, const std::string& root) {
  return !path.empty() && (path == root || path.starts_with(root + "/") || root.starts_with(path + "/"));
}

}  // namespace

std::vector<DiskFrontend> ParseDisks(const Json& query_block, const Json& named_block_nodes) {
  std::set<std::string> direct_files;
  for (const Json& node : ElementsOf(named_block_nodes)) {
    if (FlagOf(Member(node, "cache"), "direct")) direct_files.insert(TextOf(node, "file"));
  }
  std::vector<DiskFrontend> disks;
  for (const Json& entry : ElementsOf(query_block)) {
    const Json& inserted = Member(entry, "inserted");
    const std::string device = DevicePath(TextOf(entry, "qdev"));
    if (!inserted.is_object() || device.empty()) continue;
    DiskFrontend disk{device, TextOf(inserted, "file"), FlagOf(Member(inserted, "cache"), "direct")};
    disk.direct |= direct_files.contains(disk.filename);
    for (const Json* image = &Member(inserted, "image"); image->is_object(); image = &Member(*image, "backing-image")) {
      disk.direct |= direct_files.contains(TextOf(*image, "filename"));
    }
    disks.push_back(std::move(disk));
  }
  return disks;
}

Result<bool> VirtioIdle::Look(Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(const std::vector<std::string> devices, BlockDevices(deadline));
  HECA_RETURN_IF_ERROR(CheckDisks(devices, deadline));
  bool all = true;
  for (const std::string& device : devices) {
    HECA_ASSIGN_OR_RETURN(const int count, QueueCount(device, deadline));
    std::vector<bool>& idle = idle_[device];
    idle.resize(static_cast<std::size_t>(count), false);
    for (std::size_t queue = 0; queue < idle.size(); ++queue) {
      if (idle[queue]) continue;
      HECA_ASSIGN_OR_RETURN(
          const Json status,
          qmp_.Execute("x-query-virtio-queue-status", {{"path", device}, {"queue", queue}}, deadline));
      const Json& in_use = Member(status, "inuse");
      if (!in_use.is_number_integer()) return Status(ErrorCode::kUnsupported, "QEMU does not tell a queue's inuse");
      idle[queue] = in_use.get<std::int64_t>() == 0;
      all = all && idle[queue];
    }
  }
  return all;
}

Result<std::vector<std::string>> VirtioIdle::BlockDevices(Deadline deadline) {
  const Result<Json> list = qmp_.Execute("x-query-virtio", {}, deadline);
  if (!list.ok() && list.status().code() == ErrorCode::kNotFound) {
    return Status(ErrorCode::kUnsupported, "this QEMU has no x-query-virtio (7.2 or newer has)");
  }
  HECA_RETURN_IF_ERROR(list.status());
  std::vector<std::string> devices;
  for (const Json& device : ElementsOf(*list)) {
    const std::string name = TextOf(device, "name");
    if (name == "virtio-blk" || name == "virtio-scsi") devices.push_back(TextOf(device, "path"));
  }
  return devices;
}

Status VirtioIdle::CheckDisks(const std::vector<std::string>& virtio_devices, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(const Json blocks, qmp_.Execute("query-block", {}, deadline));
  HECA_ASSIGN_OR_RETURN(const Json nodes, qmp_.Execute("query-named-block-nodes", {{"flat", true}}, deadline));
  for (const DiskFrontend& disk : ParseDisks(blocks, nodes)) {
    const auto behind = [&](const std::string& path) {
      return std::any_of(virtio_devices.begin(), virtio_devices.end(),
                         [&](const std::string& device) { return IsAt(path, device); });
    };
    if (behind(disk.device)) continue;
    // A SCSI disk: its bus belongs to the controller.
    if (behind(TextProperty(disk.device, "parent_bus", deadline))) continue;
    // Passthrough does its I/O around the block layer's cache mode.
    const std::string type = TextProperty(disk.device, "type", deadline);
    if (!disk.direct && type != "scsi-block" && type != "scsi-generic") continue;
    return Status(ErrorCode::kUnsupported,
                  fmt::format("the disk {} does direct I/O on {}, which is not virtio", disk.filename, disk.device));
  }
  return Status();
}

std::string VirtioIdle::TextProperty(const std::string& path, const char* property, Deadline deadline) {
  const Result<Json> value = qmp_.Execute("qom-get", {{"path", path}, {"property", property}}, deadline);
  return value.ok() && value->is_string() ? value->get<std::string>() : std::string();
}

Result<int> VirtioIdle::QueueCount(const std::string& device, Deadline deadline) {
  if (const auto known = queue_counts_.find(device); known != queue_counts_.end()) return known->second;
  HECA_ASSIGN_OR_RETURN(const Json status, qmp_.Execute("x-query-virtio-status", {{"path", device}}, deadline));
  const int count = static_cast<int>(NumberOf(status, "num-vqs"));
  if (count == 0) return Status(ErrorCode::kUnsupported, "QEMU does not tell the number of queues of " + device);
  queue_counts_[device] = count;
  return count;
}

}  // namespace heca::guest
