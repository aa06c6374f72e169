// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/departure_record.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/log.h"
#include "base/unique_fd.h"
#include "node/lease_json.h"

namespace heca::node {

using nlohmann::json;
namespace fs = std::filesystem;

std::string Encode(const DepartureRecord& record) {
  json blocks = json::array();
  for (const auto& block : record.blocks) {
    blocks.push_back({{"path", block.path}, {"link", block.link}, {"inode", block.inode}, {"offset", block.offset},
                      {"bytes", block.bytes}});
  }
  return json{{"version", 1},
              {"region", record.region},
              {"stage", static_cast<int>(record.stage)},
              {"pid", record.pid},
              {"start_time", record.start_time},
              {"qmp_socket", record.qmp_socket},
              {"governed", record.governed},
              {"ran", record.ran},
              {"image", LeaseToJson(record.image)},
              {"blocks", blocks}}
      .dump(2);
}

Result<DepartureRecord> DecodeDeparture(const std::string& text) {
  try {
    const json from = json::parse(text);
    if (from.at("version").get<int>() != 1) {
      return Status(ErrorCode::kUnsupported, "the record was written by another version of hecad");
    }
    DepartureRecord record;
    record.region = from.at("region");
    record.stage = static_cast<DepartureStage>(from.at("stage").get<int>());
    record.pid = from.at("pid");
    record.start_time = from.at("start_time");
    record.qmp_socket = from.at("qmp_socket");
    record.governed = from.value("governed", "");  // younger than the first release
    record.ran = from.at("ran");
    record.image = LeaseFromJson(from.at("image"));
    for (const auto& block : from.at("blocks")) {
      record.blocks.push_back({block.at("path"), block.at("link"), block.at("inode"), block.at("offset"), block.at("bytes")});
    }
    if (record.stage < DepartureStage::kStreaming || record.stage > DepartureStage::kOver) {
      return Status(ErrorCode::kDataLoss, "the record has no valid stage");
    }
    return record;
  } catch (const json::exception& error) {  // the library's way to say it; it goes no further
    return Status(ErrorCode::kDataLoss, std::string("the record cannot be read: ") + error.what());
  }
}

std::string DepartureJournal::PathOf(LeaseId image) const { return directory_ + "/" + std::to_string(image.value()) + ".json"; }

Status DepartureJournal::Prepare() const {
  std::error_code error;
  fs::create_directories(directory_, error);
  return error ? Status::FromErrno(error.value(), "mkdir " + directory_) : Status();
}

Status DepartureJournal::Write(const DepartureRecord& record) const {
  const std::string path = PathOf(record.image.lease.key.id);
  const std::string fresh = path + ".new";
  const std::string text = Encode(record);
  {
    const unique_fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));  // it holds a secret
    if (!file) return Status::FromErrno(errno, fresh);
    if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      return Status::FromErrno(errno != 0 ? errno : ENOSPC, fresh);
    }
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return Status::FromErrno(errno, path);
  return Status();
}

void DepartureJournal::Erase(LeaseId image) const { ::unlink(PathOf(image).c_str()); }

std::vector<DepartureRecord> DepartureJournal::ReadAll() const {
  std::vector<DepartureRecord> records;
  std::error_code error;
  for (const auto& file : fs::directory_iterator(directory_, error)) {
    if (file.path().extension() != ".json") continue;
    std::ostringstream text;
    text << std::ifstream(file.path()).rdbuf();
    auto record = DecodeDeparture(text.str());
    if (record.ok()) {
      records.push_back(std::move(*record));
    } else {
      Log().error("{}: {}", file.path().string(), record.status().ToString());
    }
  }
  return records;
}

}  // namespace heca::node
