// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

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

Status RegionJournal::Write(const RegionRecord& record) const {
  std::error_code error;
  fs::create_directories(Directory(record.name), error);
  if (error) return Status::FromErrno(error.value(), "mkdir " + Directory(record.name));
  const std::string path = Directory(record.name) + "/region.json";
  {
    std::ofstream file(path + ".new", std::ios::trunc);
    file << Encode(record) << '\n';
    file.flush();
    if (!file) return Status::FromErrno(errno, "write " + path + ".new");
  }
  fs::permissions(path + ".new", fs::perms::owner_read | fs::perms::owner_write, error);  // it holds the lease secret
  if (!error) fs::rename(path + ".new", path, error);
  return error ? Status::FromErrno(error.value(), "rename " + path) : Status();
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
