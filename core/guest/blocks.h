// SPDX-License-Identifier: LGPL-2.1-or-later
// The RAM of a guest as its process maps it: which files, where. QEMU says by QMP what its memory backends are;
// /proc/PID/maps and map_files say what is really mapped, and only what both agree on is taken.
//
// A region's address space is its blocks one after another, in the order of this list: for QEMU the order of
// `info ramblock`'s offsets, which is the order of the command line and of hot-plugging; for a plain process by
// address. RAM below and above 4 GiB is one block, since QEMU maps one file for both.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "guest/qmp.h"
#include "heca/status.h"
#include "heca/types.h"
#include "os/proc.h"

namespace heca::guest {

/// What kind of file holds the RAM.
enum class RamKind : std::uint8_t { kInvalid = 0, kTmpfs = 1, kHugetlbfs = 2, kMemfd = 3, kOther = 4, kPrivate = 5 };
[[nodiscard]] std::string_view ToString(RamKind kind);

/// One memory backend of QEMU, from query-memdev, qom-get and info ramblock.
struct MemoryBackend {
  std::string id;
  std::string type;      ///< "memory-backend-file"
  std::string mem_path;  ///< a file, or the directory in which QEMU made one
  std::uint64_t size = 0;
  std::uint64_t ram_offset = 0;  ///< in QEMU's space of RAM addresses: the order of blocks
  bool share = false;
  bool discard_data = false;
  bool prealloc = false;
};

/// One block of a guest's RAM. Owns a descriptor of its file.
struct RamBlock {
  std::string name;        ///< the backend's id; for a plain process the file's name
  std::uint64_t address = 0;  ///< in the guest's process
  Bytes bytes;
  Bytes page_size;         ///< 4 KiB, or of the huge page pool
  std::uint64_t file_offset = 0;
  RamKind kind = RamKind::kInvalid;
  std::string path;        ///< of the file, for people
  dev_t device = 0;
  ino_t inode = 0;
  unique_fd fd;            ///< O_RDWR: keeps the memory when the process and the name are gone
};

/// Which mappings of a plain process are its region. All shared writable file mappings by default.
struct MappingChoice {
  std::string path;            ///< only of this file (as in /proc/PID/maps); empty: of any
  ino_t inode = 0;             ///< only of this inode; 0: any
  std::uint64_t address = 0;   ///< with `length`: only what lies within this range
  std::uint64_t length = 0;
};

/// Several VMAs of one file that lie together (split by NUMA policy, madvise, registration), as one.
[[nodiscard]] std::vector<os::Mapping> MergeAdjacent(std::vector<os::Mapping> maps);

/// "Block Name PSize Offset Used Total" lines: the id's last path component, offset and total of each.
struct RamBlockLine {
  std::string name;
  std::uint64_t offset = 0;
  std::uint64_t total = 0;
};
[[nodiscard]] std::vector<RamBlockLine> ParseInfoRamblock(std::string_view text);

/// The mapping that is `backend`, among merged mappings; nullopt: none or several fit.
[[nodiscard]] std::optional<os::Mapping> FindBackendMapping(const MemoryBackend& backend,
                                                            const std::vector<os::Mapping>& merged);

/// All memory backends that are the guest's RAM, in the order of RAM addresses.
[[nodiscard]] Result<std::vector<MemoryBackend>> QueryBackends(Qmp& qmp, Deadline deadline);

/// The blocks of a QEMU. Fails, with the backend's name and the remedy, where one is not a shared tmpfs or hugetlbfs
/// file mapped as QEMU says.
[[nodiscard]] Result<std::vector<RamBlock>> QemuRamBlocks(pid_t pid, Qmp& qmp, Deadline deadline);

/// The blocks of a process without QMP.
[[nodiscard]] Result<std::vector<RamBlock>> ProcessRamBlocks(pid_t pid, const MappingChoice& choice);

}  // namespace heca::guest
