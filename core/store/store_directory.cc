// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/store_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/lock_file.h"
#include "base/log.h"

namespace heca::store {
namespace {

namespace fs = std::filesystem;

constexpr long kTmpfsMagic = 0x01021994;  // statfs(2)

std::optional<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

// A reader sees the old file or the new one. No fsync: tmpfs lives as long as the kernel.
Status ReplaceFile(const std::string& path, const std::string& text) {
  const std::string next = path + ".new";
  const unique_fd fd(::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return Status::FromErrno(errno, "cannot make " + next, ErrorScope::kNode);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Status::FromErrno(errno, "cannot write " + next, ErrorScope::kNode);
  }
  if (::rename(next.c_str(), path.c_str()) != 0) return Status::FromErrno(errno, "cannot rename " + next);
  return {};
}

std::string SlabPath(const std::string& dir, std::size_t index) { return fmt::format("{}/slab-{:05}", dir, index); }

bool HasPrefix(const std::string& name, std::string_view prefix) { return name.rfind(prefix, 0) == 0; }

Result<std::vector<Slab>> MakeSlabs(const std::string& dir, const LeaseRecord& record, std::size_t from) {
  std::vector<Slab> slabs;
  slabs.reserve(record.slabs - from);
  for (std::size_t index = from; index < record.slabs; ++index) {
    auto slab = Slab::Create(SlabPath(dir, index), record.shape, record.backing);
    if (!slab.ok()) {
      while (index-- > from) ::unlink(SlabPath(dir, index).c_str());
      return slab.status();
    }
    slabs.push_back(std::move(slab).value());
  }
  return slabs;
}

}  // namespace

Result<StoreDirectory> StoreDirectory::Open(const std::string& path, const std::string& boot_id) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return Status::FromErrno(error.value(), "cannot make the slab directory " + path, ErrorScope::kNode);
  fs::permissions(path, fs::perms::owner_all, error);
  struct statfs info {};
  if (::statfs(path.c_str(), &info) != 0) return Status::FromErrno(errno, "cannot look at " + path);
  if (static_cast<long>(info.f_type) != kTmpfsMagic) {
    return Status(ErrorCode::kFailedPrecondition,
                  "the slab directory " + path + " is not on tmpfs; choose one below /dev/shm", ErrorScope::kNode);
  }
  unique_fd lock(::open((path + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return Status::FromErrno(errno, "cannot open " + path + "/lock", ErrorScope::kNode);
  const Status locked = LockFile(lock.get());
  if (!locked.ok()) {
    if (locked.code() != ErrorCode::kBusy) return locked.WithContext("cannot lock " + path);
    return Status(ErrorCode::kBusy,
                  "another hecad lends from " + path + " (its lock is " + std::string(locked.message()) +
                      "); stop it, or give this one a slab directory of its own",
                  ErrorScope::kNode);
  }
  StoreDirectory directory(path, std::move(lock));
  HECA_RETURN_IF_ERROR(directory.AdoptBoot(boot_id));
  return directory;
}

Status StoreDirectory::AdoptBoot(const std::string& boot_id) {
  const bool same_boot = ReadFile(path_ + "/boot") == boot_id;
  RemoveLeftovers(!same_boot);
  return same_boot ? Status() : ReplaceFile(path_ + "/boot", boot_id);
}

void StoreDirectory::RemoveLeftovers(bool leases_too) {
  std::error_code ignored;  // what cannot be removed now is tried again at the next start
  for (const auto& entry : fs::directory_iterator(path_, ignored)) {
    const std::string name = entry.path().filename();
    if (HasPrefix(name, "new-") || HasPrefix(name, "gone-") || (leases_too && HasPrefix(name, "lease-"))) {
      fs::remove_all(entry.path(), ignored);
    }
  }
}

std::string StoreDirectory::LeaseDir(const char* prefix, LeaseId id) const {
  return fmt::format("{}/{}-{}", path_, prefix, id.value());
}

Result<StoredLease> StoreDirectory::Load(const std::string& dir) const {
  const auto text = ReadFile(dir + "/record");
  if (!text) return Status(ErrorCode::kDataLoss, "no record");
  HECA_ASSIGN_OR_RETURN(auto record, ParseLeaseRecord(*text));
  if (dir != LeaseDir("lease", record.id)) return Status(ErrorCode::kDataLoss, "record of another lease");
  StoredLease lease{std::move(record), {}};
  for (std::size_t index = 0; index < lease.record.slabs; ++index) {
    HECA_ASSIGN_OR_RETURN(auto slab, Slab::Open(SlabPath(dir, index), lease.record.shape));
    lease.slabs.push_back(std::move(slab));
  }
  for (std::size_t index = lease.record.slabs; ::unlink(SlabPath(dir, index).c_str()) == 0; ++index) {
  }
  return lease;
}

std::vector<StoredLease> StoreDirectory::Recover() {
  std::vector<fs::path> dirs;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path_, ignored)) {
    if (HasPrefix(entry.path().filename(), "lease-")) dirs.push_back(entry.path());
  }
  std::vector<StoredLease> leases;
  for (const auto& dir : dirs) {
    auto lease = Load(dir);
    if (lease.ok()) {
      leases.push_back(std::move(lease).value());
    } else if (lease.status().code() == ErrorCode::kUnsupported) {
      Log().error("{} is left alone: {}", dir.string(), lease.status().ToString());
    } else {
      Log().error("{} cannot be used and is removed: {}", dir.string(), lease.status().ToString());
      fs::remove_all(dir, ignored);
    }
  }
  return leases;
}

Result<std::vector<Slab>> StoreDirectory::Create(const LeaseRecord& record) {
  const std::string making = LeaseDir("new", record.id);
  const std::string made = LeaseDir("lease", record.id);
  if (::mkdir(making.c_str(), 0700) != 0) {
    return Status::FromErrno(errno, "cannot make " + making, ErrorScope::kNode);
  }
  auto slabs = MakeSlabs(making, record, 0);
  Status status = slabs.status();
  if (status.ok()) status = ReplaceFile(making + "/record", Format(record));
  if (status.ok() && ::rename(making.c_str(), made.c_str()) != 0) {
    status = Status::FromErrno(errno, "cannot rename " + making, ErrorScope::kNode);
  }
  if (status.ok()) return slabs;
  std::error_code ignored;
  fs::remove_all(making, ignored);
  return status;
}

Result<std::vector<Slab>> StoreDirectory::Extend(const LeaseRecord& record, std::size_t more) {
  const std::string dir = LeaseDir("lease", record.id);
  const std::size_t from = record.slabs - more;
  auto slabs = MakeSlabs(dir, record, from);
  if (!slabs.ok()) return slabs;
  const Status status = Update(record);
  if (status.ok()) return slabs;
  for (std::size_t index = from; index < record.slabs; ++index) ::unlink(SlabPath(dir, index).c_str());
  return status;
}

Status StoreDirectory::Update(const LeaseRecord& record) {
  return ReplaceFile(LeaseDir("lease", record.id) + "/record", Format(record));
}

Status StoreDirectory::Remove(LeaseId id) {
  const std::string gone = LeaseDir("gone", id);
  if (::rename(LeaseDir("lease", id).c_str(), gone.c_str()) != 0) {
    return Status::FromErrno(errno, "cannot free lease " + std::to_string(id.value()), ErrorScope::kNode);
  }
  std::error_code error;
  fs::remove_all(gone, error);
  if (error) Log().error("cannot remove {}: {}; tried again at the next start", gone, error.message());
  return {};
}

}  // namespace heca::store
