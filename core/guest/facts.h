// SPDX-License-Identifier: LGPL-2.1-or-later
// Everything about a guest that decides whether its memory can be governed, as plain values: gathered here, judged
// in guest/refusals.h. Gathering asks /proc and, where there is one, QEMU; it changes nothing.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "guest/blocks.h"
#include "guest/qmp.h"
#include "os/proc.h"

namespace heca::guest {

/// What the command line of a process says; also the way to our QMP socket without a libvirt client.
struct QemuCmdline {
  bool is_qemu = false;
  std::string name;      ///< -name guest=NAME
  std::string uuid;      ///< -uuid
  std::string qmp_path;  ///< the chardev with id "heca", else the first -qmp unix socket; empty: none
  bool mem_lock = false;  ///< -overcommit mem-lock=on, -realtime mlock=on
};
[[nodiscard]] QemuCmdline ParseQemuCmdline(const std::vector<std::string>& words);

/// A device or netdev as the monitor prints it.
[[nodiscard]] std::vector<std::string> ParseQtreeTypes(std::string_view text);       ///< "virtio-blk-pci", ...
[[nodiscard]] std::vector<std::string> ParseNetworkTypes(std::string_view text);     ///< "tap", "vhost-user", ...

/// A node of QEMU's block layer.
struct BlockNode {
  std::string driver;    ///< "qcow2", "file", "nvme"
  std::string filename;
  bool direct = false;
};
[[nodiscard]] std::vector<BlockNode> ParseBlockNodes(const Json& named_block_nodes);

/// Another process that maps a file of the guest's RAM.
struct OtherMapper {
  pid_t pid = 0;
  std::string name;
};

struct GuestFacts {
  pid_t pid = 0;
  bool by_qmp = false;  ///< the fields below "QEMU" are known
  os::ProcessStatus status;
  QemuCmdline cmdline;
  std::vector<os::OpenFile> files;
  std::vector<os::Mapping> ram;          ///< shared mappings that hold RAM, merged
  std::vector<os::Mapping> locked;       ///< of those, the mlock()ed ones
  std::vector<OtherMapper> other_mappers;
  // QEMU
  std::vector<MemoryBackend> backends;
  std::vector<std::string> device_types;
  std::vector<std::string> object_types;
  std::vector<std::string> netdev_types;
  std::vector<BlockNode> block_nodes;
  bool kvm = false;
  bool nested = false;  ///< the vCPU has svm or vmx
};

/// Processes other than `pid` and our own that map a file of `ram`. Reads the maps of every process: only at attach.
[[nodiscard]] std::vector<OtherMapper> FindOtherMappers(pid_t pid, const std::vector<os::Mapping>& ram);

/// `qmp` may be null: a plain process, whose RAM is what `choice` chooses.
[[nodiscard]] Result<GuestFacts> GatherFacts(pid_t pid, Qmp* qmp, const MappingChoice& choice, Deadline deadline);

}  // namespace heca::guest
