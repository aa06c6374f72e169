// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/blocks.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <tuple>

#include <fmt/format.h>

namespace heca::guest {
namespace {

constexpr std::string_view kMemfdPrefix = "/memfd:";
constexpr const char* kRemedy =
    "start the guest with -object memory-backend-file,share=on,mem-path=<a file on tmpfs or hugetlbfs> (libvirt: "
    "<memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>, memory_backing_dir on a tmpfs)";

Result<RamKind> KindOfFile(const unique_fd& fd, const os::Mapping& mapping, std::uint64_t* page_size) {
  struct statfs info {};
  if (::fstatfs(fd.get(), &info) != 0) return Status::FromErrno(errno, "statfs of " + mapping.path);
  *page_size = kBasePage.value();
  if (info.f_type == HUGETLBFS_MAGIC) {
    *page_size = static_cast<std::uint64_t>(info.f_bsize);
    return RamKind::kHugetlbfs;
  }
  if (info.f_type != TMPFS_MAGIC) return RamKind::kOther;
  return mapping.path.starts_with(kMemfdPrefix) ? RamKind::kMemfd : RamKind::kTmpfs;
}

Result<RamBlock> MakeBlock(pid_t pid, std::string name, const os::Mapping& mapping,
                           const std::vector<os::Mapping>& maps) {
  // map_files knows single VMAs: open by the first of those that were merged.
  const auto first = std::find_if(maps.begin(), maps.end(),
                                  [&](const os::Mapping& m) { return m.start == mapping.start; });
  if (first == maps.end()) return Status(ErrorCode::kInternal, "a merged mapping without a first part");
  HECA_ASSIGN_OR_RETURN(unique_fd fd, os::OpenMappedFile(pid, *first));
  RamBlock block;
  std::uint64_t page_size = 0;
  HECA_ASSIGN_OR_RETURN(block.kind, KindOfFile(fd, mapping, &page_size));
  block.name = std::move(name);
  block.address = mapping.start;
  block.bytes = Bytes(mapping.size());
  block.page_size = Bytes(page_size);
  block.file_offset = mapping.offset;
  block.path = mapping.path;
  block.device = mapping.device;
  block.inode = mapping.inode;
  block.fd = std::move(fd);
  return block;
}

bool SharedFile(const os::Mapping& m) { return m.shared && m.writable && m.inode != 0; }

bool IsOf(const MemoryBackend& backend, const os::Mapping& m) {
  if (!SharedFile(m) || m.size() != backend.size) return false;
  if (backend.type == "memory-backend-memfd") return m.path.starts_with(kMemfdPrefix);
  if (m.path == backend.mem_path) return true;
  // QEMU's name for a file that it makes in a directory; it is unlinked at once.
  std::string directory = backend.mem_path;
  while (directory.ends_with('/')) directory.pop_back();
  return m.deleted && m.path.starts_with(fmt::format("{}/qemu_back_mem.{}.", directory, backend.id));
}

Result<Json> Property(Qmp& qmp, const std::string& id, const char* property, Deadline deadline) {
  return qmp.Execute("qom-get", {{"path", "/objects/" + id}, {"property", property}}, deadline);
}
/// Properties that a backend's type does not have are reported as errors by QEMU: then the default holds.
bool FlagProperty(Qmp& qmp, const std::string& id, const char* property, Deadline deadline) {
  const Result<Json> value = Property(qmp, id, property, deadline);
  return value.ok() && value->is_boolean() && value->get<bool>();
}
std::string TextProperty(Qmp& qmp, const std::string& id, const char* property, Deadline deadline) {
  const Result<Json> value = Property(qmp, id, property, deadline);
  return value.ok() && value->is_string() ? value->get<std::string>() : std::string();
}

}  // namespace

std::string_view ToString(RamKind kind) {
  switch (kind) {
    case RamKind::kInvalid: return "invalid";
    case RamKind::kTmpfs: return "tmpfs file";
    case RamKind::kHugetlbfs: return "hugetlbfs file";
    case RamKind::kMemfd: return "memfd";
    case RamKind::kOther: return "file that is neither on tmpfs nor on hugetlbfs";
    case RamKind::kPrivate: return "private memory";
  }
  return "unknown";
}

std::vector<os::Mapping> MergeAdjacent(std::vector<os::Mapping> maps) {
  std::vector<os::Mapping> merged;
  for (os::Mapping& m : maps) {
    if (!merged.empty() && m.inode != 0) {
      os::Mapping& last = merged.back();
      if (last.inode == m.inode && last.device == m.device && last.end == m.start && last.shared == m.shared &&
          last.writable == m.writable && last.offset + last.size() == m.offset) {
        last.end = m.end;
        continue;
      }
    }
    merged.push_back(std::move(m));
  }
  return merged;
}

std::vector<RamBlockLine> ParseInfoRamblock(std::string_view text) {
  std::vector<RamBlockLine> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string line(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    // "  ram0    4 KiB  0x0000000000000000 0x0000000010000000 0x0000000010000000", names may hold blanks.
    const std::size_t first_hex = line.find(" 0x");
    if (first_hex == std::string::npos) continue;
    unsigned long offset = 0, used = 0, total = 0;
    if (std::sscanf(line.c_str() + first_hex, " 0x%lx 0x%lx 0x%lx", &offset, &used, &total) != 3) continue;
    std::size_t name_end = line.find_last_not_of(' ', first_hex);                     // the unit
    for (int word = 0; word < 2 && name_end != std::string::npos; ++word) {           // "KiB", then "4"
      name_end = line.find_last_of(' ', name_end);
      if (name_end != std::string::npos) name_end = line.find_last_not_of(' ', name_end);
    }
    if (name_end == std::string::npos) continue;
    std::string name = line.substr(0, name_end + 1);
    name.erase(0, name.find_first_not_of(' '));
    if (const std::size_t slash = name.rfind('/'); slash != std::string::npos) name.erase(0, slash + 1);
    lines.push_back({std::move(name), offset, total});
  }
  return lines;
}

std::optional<os::Mapping> FindBackendMapping(const MemoryBackend& backend, const std::vector<os::Mapping>& merged) {
  std::optional<os::Mapping> found;
  for (const os::Mapping& m : merged) {
    if (!IsOf(backend, m)) continue;
    if (found) return std::nullopt;
    found = m;
  }
  return found;
}

Result<std::vector<MemoryBackend>> QueryBackends(Qmp& qmp, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(const Json memdevs, qmp.Execute("query-memdev", {}, deadline));
  // The same table under its older name; QEMU before 7.1 has only that one.
  HECA_ASSIGN_OR_RETURN(const std::string ramblock_text, qmp.HumanCommand("info ramblock", deadline));
  const std::vector<RamBlockLine> ramblocks = ParseInfoRamblock(ramblock_text);
  std::vector<MemoryBackend> backends;
  for (const Json& memdev : ElementsOf(memdevs)) {
    MemoryBackend backend;
    backend.id = TextOf(memdev, "id");
    backend.size = NumberOf(memdev, "size");
    backend.prealloc = FlagOf(memdev, "prealloc");
    backend.type = TextProperty(qmp, backend.id, "type", deadline);
    backend.share = FlagProperty(qmp, backend.id, "share", deadline);
    if (backend.type == "memory-backend-file") {
      backend.mem_path = TextProperty(qmp, backend.id, "mem-path", deadline);
      backend.discard_data = FlagProperty(qmp, backend.id, "discard-data", deadline);
    }
    const auto line = std::find_if(ramblocks.begin(), ramblocks.end(), [&](const RamBlockLine& l) {
      return l.name == backend.id && l.total == backend.size;
    });
    if (line == ramblocks.end()) continue;  // an object that no device uses: not RAM
    backend.ram_offset = line->offset;
    backends.push_back(std::move(backend));
  }
  if (backends.empty()) return Status(ErrorCode::kNotFound, "this QEMU has no memory backend as RAM");
  std::sort(backends.begin(), backends.end(), [](const MemoryBackend& a, const MemoryBackend& b) {
    return std::tie(a.ram_offset, a.id) < std::tie(b.ram_offset, b.id);
  });
  return backends;
}

Result<std::vector<RamBlock>> QemuRamBlocks(pid_t pid, Qmp& qmp, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(const std::vector<MemoryBackend> backends, QueryBackends(qmp, deadline));
  HECA_ASSIGN_OR_RETURN(const std::vector<os::Mapping> maps, os::ReadMaps(pid));
  const std::vector<os::Mapping> merged = MergeAdjacent(maps);
  std::vector<RamBlock> blocks;
  for (const MemoryBackend& backend : backends) {
    if (!backend.share) {
      return Status(ErrorCode::kFailedPrecondition,
                    fmt::format("RAM '{}' is private memory (share=off); {}", backend.id, kRemedy));
    }
    const std::optional<os::Mapping> mapping = FindBackendMapping(backend, merged);
    if (!mapping) {
      return Status(ErrorCode::kFailedPrecondition,
                    fmt::format("RAM '{}' ({}, {} bytes, {}) is not, or not once, among the shared file mappings of "
                                "process {}: is this the QMP socket of that process? If so, {}",
                                backend.id, backend.type, backend.size, backend.mem_path, pid, kRemedy));
    }
    HECA_ASSIGN_OR_RETURN(RamBlock block, MakeBlock(pid, backend.id, *mapping, maps));
    if (block.kind != RamKind::kTmpfs && block.kind != RamKind::kHugetlbfs) {
      return Status(ErrorCode::kFailedPrecondition,
                    fmt::format("RAM '{}' is a {} ({}); {}", backend.id, ToString(block.kind), block.path, kRemedy));
    }
    blocks.push_back(std::move(block));
  }
  return blocks;
}

Result<std::vector<RamBlock>> ProcessRamBlocks(pid_t pid, const MappingChoice& choice) {
  HECA_ASSIGN_OR_RETURN(const std::vector<os::Mapping> maps, os::ReadMaps(pid));
  std::vector<RamBlock> blocks;
  std::string passed_over;
  for (const os::Mapping& m : MergeAdjacent(maps)) {
    if (!SharedFile(m)) continue;
    if (!choice.path.empty() && m.path != choice.path) continue;
    if (choice.inode != 0 && m.inode != choice.inode) continue;
    if (choice.length != 0 && (m.start < choice.address || m.end > choice.address + choice.length)) continue;
    Result<RamBlock> block =
        MakeBlock(pid, m.offset == 0 ? m.path : fmt::format("{}@{:#x}", m.path, m.offset), m, maps);
    const bool chosen_by_name = !choice.path.empty() || choice.inode != 0 || choice.length != 0;
    if (!block.ok()) {
      if (chosen_by_name) return block.status();
      continue;  // a device's mapping (GPU, io_uring): nothing that could be opened as a file
    }
    if (block->kind == RamKind::kOther) {
      passed_over += fmt::format(" {} is a {};", m.path, ToString(block->kind));
      continue;
    }
    for (const RamBlock& other : blocks) {
      if (other.inode == block->inode && other.device == block->device &&
          other.file_offset < block->file_offset + block->bytes.value() &&
          block->file_offset < other.file_offset + other.bytes.value()) {
        return Status(ErrorCode::kFailedPrecondition,
                      fmt::format("process {} maps the same bytes of {} twice, at {:#x} and {:#x}; only one mapping "
                                  "can be governed", pid, m.path, other.address, block->address));
      }
    }
    blocks.push_back(std::move(*block));
  }
  if (blocks.empty()) {
    return Status(ErrorCode::kNotFound,
                  fmt::format("process {} has no shared writable mapping of a tmpfs or hugetlbfs file{};{} map its "
                              "memory from a file on /dev/shm with MAP_SHARED", pid,
                              choice.path.empty() ? "" : " named " + choice.path, passed_over));
  }
  for (const RamBlock& block : blocks) {
    if (block.page_size != blocks.front().page_size) {
      return Status(ErrorCode::kFailedPrecondition,
                    fmt::format("process {} mixes page sizes ({} and {}); choose one file", pid, blocks.front().path,
                                block.path));
    }
  }
  return blocks;
}

}  // namespace heca::guest
