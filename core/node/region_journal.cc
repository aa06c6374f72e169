// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>

#include "base/size.h"
#include "base/unique_fd.h"
#include "node/region_record.h"

namespace heca::node {
namespace fs = std::filesystem;

std::string RegionJournal::Directory(const RegionId& region) const { return directory_ + "/" + region; }

std::string RegionJournal::TablePath(const RegionId& region) const { return Directory(region) + "/pages"; }

Status RegionJournal::Prepare() const {
  std::error_code error;
  fs::create_directories(directory_, error);
  return error ? Status::FromErrno(error.value(), "mkdir " + directory_) : Status();
}

namespace {

/// Records are padded to this and spares are of this size: the largest record seen is 3 KiB (eight blocks).
constexpr std::size_t kRoom = 16384;

Status NoRoom(const std::string& path, int error) {
  if (error != ENOSPC) return Status::FromErrno(error, path);
  return Status(ErrorCode::kResourceExhausted,
                path + " cannot be written: its file system is full; free space there, or give hecad another run-dir",
                ErrorScope::kNode, error);
}

/// Writes over what is there: the blocks that the file has are used again.
Status Fill(const std::string& path, std::string_view text) {
  const unique_fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));  // it holds the lease's secret
  if (!file) return NoRoom(path, errno);
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::pwrite(file.get(), text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return NoRoom(path, n < 0 ? errno : ENOSPC);
    done += static_cast<std::size_t>(n);
  }
  if (::ftruncate(file.get(), static_cast<off_t>(text.size())) != 0) return NoRoom(path, errno);
  return Status();
}

}  // namespace

Status RegionJournal::Write(const RegionRecord& record) const {
  std::error_code error;
  fs::create_directories(Directory(record.name), error);
  if (error) return NoRoom(Directory(record.name), error.value());
  const std::string path = Directory(record.name) + "/region.json";
  const std::string spare = path + ".spare";
  std::string text = Encode(record) + '\n';
  text.resize((text.size() + kRoom - 1) / kRoom * kRoom, ' ');
  HECA_RETURN_IF_ERROR(Fill(spare, text));
  if (::renameat2(AT_FDCWD, spare.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) return Status();
  if (errno != ENOENT) return Status::FromErrno(errno, "exchange " + spare + " with " + path);
  // The first record of this region. Its spare is made at once, so that it is refused now or never.
  if (::rename(spare.c_str(), path.c_str()) != 0) return Status::FromErrno(errno, "rename " + spare);
  return Fill(spare, std::string(text.size(), ' '));
}

Status RegionJournal::CheckRoom(const RegionId& region, Bytes table) const {
  struct statfs stat {};
  if (::statfs(directory_.c_str(), &stat) != 0) return Status::FromErrno(errno, "statfs of " + directory_);
  if (stat.f_blocks == 0) return Status();  // a tmpfs without size=
  const Bytes free(static_cast<std::uint64_t>(stat.f_bavail) * static_cast<std::uint64_t>(stat.f_bsize));
  const Bytes needed(table.value() + 2 * kRoom + 4 * 4096);  // and what directories may take
  if (needed <= free) return Status();
  return Status(ErrorCode::kResourceExhausted,
                "the journal of region '" + region + "' needs " + FormatSize(needed) + " (8 bytes a page) in " +
                    directory_ + ", where " + FormatSize(free) +
                    " are free: free space there, or give hecad a run-dir on a larger tmpfs",
                ErrorScope::kNode, ENOSPC);
}

Status RegionJournal::Erase(const RegionId& region) const {
  std::error_code error;
  // The record goes first: a table without a record is rubbish, a record without its table would be a lie.
  fs::remove(Directory(region) + "/region.json", error);
  if (!error) fs::remove_all(Directory(region), error);
  return error ? Status::FromErrno(error.value(), "remove " + Directory(region)) : Status();
}

Result<RegionRecord> RegionJournal::Read(const RegionId& region) const {
  const std::string path = Directory(region) + "/region.json";
  std::ifstream file(path);
  if (!file) return Status::FromErrno(errno, path);
  std::ostringstream text;
  text << file.rdbuf();
  auto record = Decode(text.str());
  if (!record.ok()) return record.status().WithContext(path);
  return record;
}

Result<std::vector<RegionId>> RegionJournal::List() const {
  std::vector<RegionId> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory_, error)) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  if (error && error != std::errc::no_such_file_or_directory) return Status::FromErrno(error.value(), directory_);
  return names;
}

}  // namespace heca::node
