// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/refusals.h"

#include <algorithm>

#include <fmt/format.h>

namespace heca::guest {
namespace {

template <class Range, class Match>
std::string FirstText(const Range& range, Match&& match) {
  const auto found = std::find_if(range.begin(), range.end(), match);
  return found == range.end() ? std::string() : std::string(*found);
}

std::string DeviceLike(const GuestFacts& f, std::initializer_list<std::string_view> prefixes) {
  return FirstText(f.device_types, [&](const std::string& type) {
    return std::any_of(prefixes.begin(), prefixes.end(), [&](std::string_view p) { return type.starts_with(p); });
  });
}
std::string NetdevLike(const GuestFacts& f, std::string_view type) {
  return FirstText(f.netdev_types, [&](const std::string& t) { return t == type; });
}
std::string OpenFileLike(const GuestFacts& f, std::initializer_list<std::string_view> prefixes) {
  for (const os::OpenFile& file : f.files) {
    for (const std::string_view prefix : prefixes) {
      if (file.target.starts_with(prefix)) return "open file " + file.target;
    }
  }
  return {};
}
std::string DriverIn(const GuestFacts& f, std::initializer_list<std::string_view> drivers) {
  for (const BlockNode& node : f.block_nodes) {
    if (std::find(drivers.begin(), drivers.end(), node.driver) != drivers.end()) {
      return fmt::format("block driver {} ({})", node.driver, node.filename);
    }
  }
  return {};
}
std::string Either(std::string first, std::string second) {
  return first.empty() ? std::move(second) : std::move(first);
}
std::string Device(std::string type) { return type.empty() ? std::string() : "device " + type; }
std::string Netdev(std::string type) { return type.empty() ? std::string() : "netdev of type " + type; }

template <class Match>
std::string Backends(const GuestFacts& f, Match&& match, std::string_view what) {
  std::string ids;
  for (const MemoryBackend& backend : f.backends) {
    if (match(backend)) ids += fmt::format("{}'{}'", ids.empty() ? "" : ", ", backend.id);
  }
  return ids.empty() ? std::string() : fmt::format("RAM {} {}", ids, what);
}

std::string Ourselves(const GuestFacts& f) {
  return f.status.name == "hecad" ? "its shared memory is what it lends and its journals" : std::string();
}
std::string VhostUser(const GuestFacts& f) {
  // vhost-user-fs has a row of its own.
  const std::string device = FirstText(f.device_types, [](const std::string& type) {
    return type.starts_with("vhost-user-") && !type.starts_with("vhost-user-fs");
  });
  return Either(Device(device), Netdev(NetdevLike(f, "vhost-user")));
}
std::string Virtiofs(const GuestFacts& f) { return Device(DeviceLike(f, {"vhost-user-fs"})); }
std::string VhostScsi(const GuestFacts& f) {
  return Either(Device(DeviceLike(f, {"vhost-scsi"})), OpenFileLike(f, {"/dev/vhost-scsi"}));
}
std::string VhostVdpa(const GuestFacts& f) {
  return Either(Device(DeviceLike(f, {"vhost-vdpa"})),
                Either(Netdev(NetdevLike(f, "vhost-vdpa")), OpenFileLike(f, {"/dev/vhost-vdpa"})));
}
std::string VirtioMem(const GuestFacts& f) { return Device(DeviceLike(f, {"virtio-mem"})); }
std::string Vfio(const GuestFacts& f) {
  return Either(Device(DeviceLike(f, {"vfio-"})),
                OpenFileLike(f, {"/dev/vfio/", "/dev/iommu", "anon_inode:[vfio-device]"}));
}
std::string Nested(const GuestFacts& f) {
  return f.kvm && f.nested ? std::string("the vCPUs have svm or vmx under KVM") : std::string();
}
std::string UserspaceNvme(const GuestFacts& f) { return DriverIn(f, {"nvme"}); }
std::string Blkio(const GuestFacts& f) {
  return DriverIn(f, {"io_uring", "nvme-io_uring", "virtio-blk-vfio-pci", "virtio-blk-vhost-user",
                      "virtio-blk-vhost-vdpa"});
}
std::string Rdma(const GuestFacts& f) {
  return Either(Device(DeviceLike(f, {"pvrdma"})), OpenFileLike(f, {"/dev/infiniband/uverbs"}));
}
std::string Udmabuf(const GuestFacts& f) { return OpenFileLike(f, {"/dev/udmabuf"}); }
std::string Encrypted(const GuestFacts& f) {
  const std::string object = FirstText(f.object_types, [](const std::string& type) {
    return type.find("sev-") != std::string::npos || type.find("sev-guest") != std::string::npos ||
           type.find("tdx-guest") != std::string::npos;
  });
  return Either(object.empty() ? std::string() : "object " + object, OpenFileLike(f, {"/dev/sev"}));
}
std::string Locked(const GuestFacts& f) {
  if (f.cmdline.mem_lock) return "the command line asks for locked memory";
  if (f.locked.empty()) return {};
  return fmt::format("{} is mlock()ed at {:#x}", f.locked.front().path, f.locked.front().start);
}
std::string Pinned(const GuestFacts& f) {
  return f.status.pinned_bytes == 0 ? std::string() : fmt::format("{} bytes are pinned (VmPin)", f.status.pinned_bytes);
}
std::string PrivateRam(const GuestFacts& f) {
  return Backends(f, [](const MemoryBackend& b) { return !b.share && b.type != "memory-backend-memfd"; },
                  "is private memory (share=off)");
}
std::string Memfd(const GuestFacts& f) {
  return Backends(f, [](const MemoryBackend& b) { return b.type == "memory-backend-memfd"; },
                  "is a memory-backend-memfd");
}
std::string DiscardData(const GuestFacts& f) {
  return Backends(f, [](const MemoryBackend& b) { return b.discard_data; }, "has discard-data=on");
}
std::string Prealloc(const GuestFacts& f) {
  return Backends(f, [](const MemoryBackend& b) { return b.prealloc; }, "has prealloc=on");
}
std::string OtherMappers(const GuestFacts& f) {
  std::string names;
  for (const OtherMapper& other : f.other_mappers) {
    names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", other.name, other.pid);
  }
  return names.empty() ? std::string() : "the RAM's file is mapped by " + names;
}

constexpr std::string_view kFileRam =
    "use memory-backend-file with share=on and mem-path on tmpfs or hugetlbfs (libvirt: <source type='file'/> and "
    "<access mode='shared'/>, memory_backing_dir on a tmpfs)";

}  // namespace

const std::vector<RefusalRow>& RefusalTable() {
  static const std::vector<RefusalRow> kTable = {
      {"a hecad", Severity::kRefuse, "name the process whose memory is to be governed", Ourselves},
      {"virtiofs", Severity::kRefuse, "remove the <filesystem> with virtiofs; use NFS or virtio-9p", Virtiofs},
      {"vhost-user", Severity::kRefuse, "use a tap or kernel vhost-net interface and virtio-blk disks", VhostUser},
      {"vhost-scsi", Severity::kRefuse, "use virtio-scsi or virtio-blk", VhostScsi},
      {"vhost-vdpa", Severity::kRefuse, "use a tap or kernel vhost-net interface", VhostVdpa},
      {"vfio", Severity::kRefuse, "remove the passed-through device; use a virtio device", Vfio},
      {"virtio-mem", Severity::kRefuse, "size the guest with DIMMs (pc-dimm) or the balloon", VirtioMem},
      {"nested guests", Severity::kRefuse, "start the guest with -cpu ...,svm=off,vmx=off", Nested},
      {"userspace NVMe", Severity::kRefuse, "attach the disk through the kernel's block device", UserspaceNvme},
      {"blkio", Severity::kRefuse, "attach the disk as file or host_device", Blkio},
      {"RDMA", Severity::kRefuse, "registered memory stays pinned: stop the RDMA user of this process", Rdma},
      {"udmabuf", Severity::kRefuse, "start the guest with virtio-gpu's blob=off", Udmabuf},
      {"encrypted memory", Severity::kRefuse, "start the guest without SEV or TDX", Encrypted},
      {"locked memory", Severity::kRefuse, "remove <locked/>, -overcommit mem-lock=on or the mlock()", Locked},
      {"pinned memory", Severity::kRefuse,
       "unregister the buffers (io_uring fixed buffers, RDMA, AF_XDP) that pin this process's pages", Pinned},
      {"memfd", Severity::kRefuse, kFileRam, Memfd},
      {"private RAM", Severity::kRefuse, kFileRam, PrivateRam},
      {"discard-data", Severity::kRefuse,
       "remove discard-data=on (libvirt: <discard/>): it wipes the RAM when this QEMU ends after a migration",
       DiscardData},
      {"shared with another process", Severity::kRefuse,
       "end that process: its accesses to absent pages would read zeros", OtherMappers},
      {"prealloc", Severity::kNote,
       "remove prealloc=on (libvirt: <allocation mode='immediate'/>): a migration's destination would touch all RAM",
       Prealloc},
  };
  return kTable;
}

std::vector<Finding> Judge(const GuestFacts& facts) {
  std::vector<Finding> findings;
  for (const RefusalRow& row : RefusalTable()) {
    std::string detail = row.detail(facts);
    if (!detail.empty()) findings.push_back({row.name, row.severity, std::move(detail), row.remedy});
  }
  return findings;
}

Status ToStatus(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    if (finding.severity != Severity::kRefuse) continue;
    text += fmt::format("{}{}: {}; remedy: {}", text.empty() ? "" : ". ", finding.name, finding.detail, finding.remedy);
  }
  return text.empty() ? Status() : Status(ErrorCode::kFailedPrecondition, std::move(text), ErrorScope::kRegion);
}

}  // namespace heca::guest
