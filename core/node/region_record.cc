// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/region_record.h"

#include <nlohmann/json.hpp>

#include "node/lease_json.h"

namespace heca::node {

using nlohmann::json;

std::string Encode(const RegionRecord& record) {
  json blocks = json::array();
  for (const auto& block : record.blocks) {
    blocks.push_back({{"name", block.name},
                      {"path", block.path},
                      {"address", block.address},
                      {"bytes", block.bytes},
                      {"file_offset", block.file_offset},
                      {"inode", block.inode}});
  }
  json document{{"version", 1},
                {"name", record.name},
                {"phase", static_cast<int>(record.phase)},
                {"pid", record.pid},
                {"start_time", record.start_time},
                {"domain", record.domain},
                {"qmp_socket", record.qmp_socket},
                {"target_fd", record.target_fd},
                {"page_size", record.page_size},
                {"limit", record.limit},
                {"page_loss", static_cast<int>(record.page_loss)},
                {"transport", ToString(record.transport)},
                {"vm_stopped", record.vm_stopped},
                {"capture_stop_ns", record.capture_stop_ns},
                {"attached_at_s", record.attached_at_s},
                {"blocks", blocks},
                {"lease", LeaseToJson(record.lease)},
                {"handed_over", record.handed_over},
                {"image_slots", record.image_slots},
                {"awaited", record.awaited}};
  if (record.image) document["image"] = LeaseToJson(*record.image);
  return document.dump(2);
}

Result<RegionRecord> Decode(const std::string& text) {
  try {
    const json from = json::parse(text);
    if (from.at("version").get<int>() != 1) {
      return Status(ErrorCode::kUnsupported, "the record was written by another version of hecad");
    }
    RegionRecord record;
    record.name = from.at("name");
    record.phase = static_cast<RecordPhase>(from.at("phase").get<int>());
    record.pid = from.at("pid");
    record.start_time = from.at("start_time");
    record.domain = from.at("domain");
    record.qmp_socket = from.at("qmp_socket");
    record.target_fd = from.at("target_fd");
    record.page_size = from.at("page_size");
    record.limit = from.at("limit");
    record.page_loss = static_cast<control::PageLoss>(from.at("page_loss").get<int>());
    record.vm_stopped = from.at("vm_stopped");
    record.capture_stop_ns = from.at("capture_stop_ns");
    record.attached_at_s = from.at("attached_at_s");
    for (const auto& block : from.at("blocks")) {
      record.blocks.push_back(BlockRecord{block.at("name"), block.at("path"), block.at("address"),
                                          block.at("bytes"), block.at("file_offset"), block.at("inode")});
    }
    record.lease = LeaseFromJson(from.at("lease"));
    record.handed_over = from.value("handed_over", false);  // these five are younger than the first release
    record.image_slots = from.value("image_slots", 0U);
    if (from.contains("image")) record.image = LeaseFromJson(from.at("image"));
    record.awaited = from.value("awaited", record.image.has_value());  // unknown: what is not given back can be
    record.transport = TransportChoiceOf(from.value("transport", std::string("auto")));
    if (record.transport == TransportChoice::kInvalid) {
      return Status(ErrorCode::kDataLoss, "the record has no valid transport");
    }
    if (record.phase < RecordPhase::kAttaching || record.phase > RecordPhase::kLeaving) {
      return Status(ErrorCode::kDataLoss, "the record has no valid phase");
    }
    return record;
  } catch (const json::exception& error) {  // the library's way to say it; it goes no further
    return Status(ErrorCode::kDataLoss, std::string("the record cannot be read: ") + error.what());
  }
}

}  // namespace heca::node
