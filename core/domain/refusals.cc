// SPDX-License-Identifier: LGPL-2.1-or-later
#include "domain/refusals.h"

#include <algorithm>
#include <initializer_list>

#include <fmt/format.h>

#include "domain/monitor.h"
#include "domain/nested.h"

namespace heca::domain {
namespace {

using Words = std::initializer_list<std::string_view>;

bool OneOf(std::string_view text, Words words) { return std::find(words.begin(), words.end(), text) != words.end(); }

/// The first <devices>/<NAME> for which `match` holds, or a null node.
template <class Match>
pugi::xml_node Device(pugi::xml_node domain, std::string_view name, Match&& match) {
  return Child(domain, "devices").find_child([&](pugi::xml_node n) { return Is(n, name) && match(n); });
}

/// "<interface type='vdpa'>" of the first such device, or "".
std::string DeviceWith(pugi::xml_node domain, std::string_view name, const char* attribute, Words values) {
  const pugi::xml_node found =
      Device(domain, name, [&](pugi::xml_node n) { return OneOf(Attribute(n, attribute), values); });
  return found ? TagWith(found, attribute) : std::string();
}

/// The same of a child of the device: "<video> with <model blob='on'>".
std::string DeviceWithin(pugi::xml_node domain, std::string_view name, std::string_view child, const char* attribute,
                         Words values) {
  const auto part = [&](pugi::xml_node n) {
    return n.find_child([&](pugi::xml_node c) { return Is(c, child) && OneOf(Attribute(c, attribute), values); });
  };
  const pugi::xml_node found = Device(domain, name, [&](pugi::xml_node n) { return !part(n).empty(); });
  return found ? fmt::format("<{}> with {}", name, TagWith(part(found), attribute)) : std::string();
}

/// A disk, its backing chain or the copy that is being made of it.
std::string DiskOf(pugi::xml_node domain, Words types) {
  const auto part = [&](pugi::xml_node disk) {
    if (OneOf(Attribute(disk, "type"), types)) return disk;
    return disk.find_node([&](pugi::xml_node n) {
      return (Is(n, "backingStore") || Is(n, "mirror")) && OneOf(Attribute(n, "type"), types);
    });
  };
  const pugi::xml_node found = Device(domain, "disk", [&](pugi::xml_node disk) { return !part(disk).empty(); });
  return found ? TagWith(part(found), "type") : std::string();
}

/// What somebody gave to QEMU past libvirt.
std::string ArgumentLike(pugi::xml_node domain, Words beginnings) {
  for (const pugi::xml_node argument : QemuArguments(domain)) {
    const std::string_view value = Attribute(argument, "value");
    if (std::any_of(beginnings.begin(), beginnings.end(), [&](std::string_view b) { return value.starts_with(b); })) {
      return fmt::format("<{} value='{}'>", argument.name(), value);
    }
  }
  return {};
}

std::string FirstOf(std::initializer_list<std::string> texts) {
  const auto found = std::find_if(texts.begin(), texts.end(), [](const std::string& text) { return !text.empty(); });
  return found == texts.end() ? std::string() : *found;
}

std::string NotQemu(pugi::xml_node d) {
  return OneOf(Attribute(d, "type"), {"kvm", "qemu"}) ? std::string() : TagWith(d, "type");
}
std::string Virtiofs(pugi::xml_node d) {
  return FirstOf({DeviceWithin(d, "filesystem", "driver", "type", {"virtiofs"}), ArgumentLike(d, {"vhost-user-fs"})});
}
std::string VhostUser(pugi::xml_node d) {
  return FirstOf({DeviceWith(d, "interface", "type", {"vhostuser"}), DiskOf(d, {"vhostuser"}),
                  DeviceWithin(d, "video", "driver", "name", {"vhostuser"}),
                  ArgumentLike(d, {"vhost-user-blk", "vhost-user-gpu", "vhost-user-scsi", "vhost-user-vga",
                                   "vhost-user,", "type=vhost-user"})});
}
std::string VhostScsi(pugi::xml_node d) {
  return FirstOf({DeviceWith(d, "hostdev", "type", {"scsi_host"}), ArgumentLike(d, {"vhost-scsi"})});
}
std::string VhostVdpa(pugi::xml_node d) {
  return FirstOf({DeviceWith(d, "interface", "type", {"vdpa"}), DiskOf(d, {"vhostvdpa"}),
                  ArgumentLike(d, {"vhost-vdpa", "type=vhost-vdpa"})});
}
std::string Vfio(pugi::xml_node d) {
  return FirstOf({DeviceWith(d, "hostdev", "type", {"pci", "mdev"}), DeviceWith(d, "interface", "type", {"hostdev"}),
                  ArgumentLike(d, {"vfio-"})});
}
std::string VirtioMem(pugi::xml_node d) {
  return FirstOf({DeviceWith(d, "memory", "model", {"virtio-mem"}), ArgumentLike(d, {"virtio-mem"})});
}
std::string UserspaceNvme(pugi::xml_node d) { return DiskOf(d, {"nvme"}); }
std::string Rdma(pugi::xml_node d) { return ArgumentLike(d, {"pvrdma"}); }
std::string Udmabuf(pugi::xml_node d) { return DeviceWithin(d, "video", "model", "blob", {"on"}); }
std::string Encrypted(pugi::xml_node d) {
  const pugi::xml_node security = Child(d, "launchSecurity");
  return FirstOf({security ? TagWith(security, "type") : std::string(), DeviceWith(d, "memory", "model", {"sgx-epc"}),
                  ArgumentLike(d, {"sev-guest", "sev-snp-guest", "tdx-guest"})});
}
std::string Locked(pugi::xml_node d) {
  return FirstOf({Child(Child(d, "memoryBacking"), "locked") ? "<locked/> in <memoryBacking>" : std::string(),
                  ArgumentLike(d, {"mem-lock=on", "mlock=on"})});
}
std::string FileDimm(pugi::xml_node d) { return DeviceWith(d, "memory", "model", {"nvdimm", "virtio-pmem"}); }
std::string Memfd(pugi::xml_node d) { return ArgumentLike(d, {"memory-backend-memfd"}); }
std::string SharedMemory(pugi::xml_node d) {
  const pugi::xml_node shmem = Device(d, "shmem", [](pugi::xml_node) { return true; });
  return shmem ? TagWith(shmem, "name") : ArgumentLike(d, {"ivshmem-"});
}

struct Row {
  std::string_view name;
  std::string_view remedy;
  std::string (*detail)(pugi::xml_node);
};

constexpr Row kTable[] = {
    {"not QEMU", "hecad governs domains of type kvm or qemu", NotQemu},
    {"virtiofs", "remove the <filesystem> with virtiofs; use NFS or virtio-9p", Virtiofs},
    {"vhost-user", "use a tap or kernel vhost-net interface and virtio-blk disks", VhostUser},
    {"vhost-scsi", "use virtio-scsi or virtio-blk", VhostScsi},
    {"vhost-vdpa", "use a tap or kernel vhost-net interface", VhostVdpa},
    {"vfio", "remove the passed-through device; use a virtio device", Vfio},
    {"virtio-mem", "size the guest with DIMMs (<memory model='dimm'>) or the balloon", VirtioMem},
    {"nested guests", "switch vmx and svm off: <feature policy='disable' name='...'/>", AsksForNested},
    {"userspace NVMe", "attach the disk through the kernel's block device", UserspaceNvme},
    {"RDMA", "registered memory stays pinned: remove the device", Rdma},
    {"udmabuf", "set blob='off' at the <model> of its <video>", Udmabuf},
    {"encrypted memory", "define the domain without SEV, TDX or SGX", Encrypted},
    {"locked memory", "remove <locked/> and mem-lock=on", Locked},
    {"NVDIMM", "remove it: its file is on no tmpfs; attach the file as a disk", FileDimm},
    {"memfd", "remove it from <qemu:commandline>: RAM has to be a file on tmpfs or hugetlbfs", Memfd},
    {"shared with another process", "remove the <shmem>: a reader outside of QEMU would find zeros", SharedMemory},
};

}  // namespace

std::vector<Refusal> Judge(pugi::xml_node domain) {
  std::vector<Refusal> refusals;
  for (const Row& row : kTable) {
    std::string detail = row.detail(domain);
    if (!detail.empty()) refusals.push_back({row.name, std::move(detail), row.remedy});
  }
  return refusals;
}

Status ToStatus(const std::vector<Refusal>& refusals) {
  std::string text;
  for (const Refusal& refusal : refusals) {
    text += fmt::format("{}{}: {}; remedy: {}", text.empty() ? "" : ". ", refusal.name, refusal.detail, refusal.remedy);
  }
  return text.empty() ? Status() : Status(ErrorCode::kFailedPrecondition, std::move(text), ErrorScope::kRegion);
}

}  // namespace heca::domain
