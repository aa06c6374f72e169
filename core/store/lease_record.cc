// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/lease_record.h"

#include <charconv>
#include <map>

#include <fmt/format.h>

namespace heca::store {
namespace {

using Fields = std::map<std::string_view, std::string_view>;

std::string Hex(const control::Secret& secret) {
  std::string text;
  for (const auto byte : secret) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

bool ReadNumber(const Fields& fields, std::string_view key, std::uint64_t& value) {
  const auto found = fields.find(key);
  if (found == fields.end()) return false;
  const auto text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool ReadSecret(const Fields& fields, std::string_view key, control::Secret& secret) {
  const auto found = fields.find(key);
  if (found == fields.end() || found->second.size() != 2 * secret.size()) return false;
  for (std::size_t i = 0; i < secret.size(); ++i) {
    const char* digits = found->second.data() + 2 * i;
    unsigned value = 0;
    const auto [end, error] = std::from_chars(digits, digits + 2, value, 16);
    if (error != std::errc() || end != digits + 2) return false;
    secret[i] = static_cast<std::byte>(value);
  }
  return true;
}

bool ReadText(const Fields& fields, std::string_view key, std::string& value) {
  const auto found = fields.find(key);
  if (found == fields.end()) return false;
  value = found->second;
  return true;
}

bool Plausible(const LeaseRecord& record) {
  const auto page = record.shape.page_size;
  return record.id.value() != 0 && record.epoch.value() != 0 && (page == kBasePage || page == kHugePage) &&
         record.shape.payload.value() >= page.value() && record.shape.payload.value() % page.value() == 0 &&
         record.slabs > 0 && record.slabs <= UINT32_MAX / record.shape.Slots() &&
         (record.backing == Backing::kReserved || record.backing == Backing::kSparse);
}

}  // namespace

std::string Format(const LeaseRecord& record) {
  return fmt::format(
      "heca-lease {}\nid {}\nepoch {}\nsecret {}\nclaim {}\nowner {}\nboot {}\nregion {}\npage {}\nslab {}\n"
      "slabs {}\nbacking {}\nopened {}\nend\n",
      kLeaseRecordVersion, record.id.value(), record.epoch.value(), Hex(record.secret), Hex(record.claim),
      record.owner_node, record.owner_boot_id, record.region, record.shape.page_size.value(),
      record.shape.payload.value(), record.slabs, static_cast<unsigned>(record.backing), record.opened ? 1 : 0);
}

Result<LeaseRecord> ParseLeaseRecord(std::string_view text) {
  Fields fields;
  bool ended = false;
  while (!text.empty() && !ended) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const auto space = line.find(' ');
    ended = line == "end";
    if (space != std::string_view::npos) fields.emplace(line.substr(0, space), line.substr(space + 1));
  }
  std::uint64_t version = 0;
  if (!ReadNumber(fields, "heca-lease", version)) {
    return Status(ErrorCode::kDataLoss, "not a lease record");
  }
  if (version != kLeaseRecordVersion) {
    return Status(ErrorCode::kUnsupported, fmt::format("lease record of version {}, this hecad reads {}", version,
                                                       kLeaseRecordVersion));
  }
  LeaseRecord record;
  std::uint64_t id = 0;
  std::uint64_t epoch = 0;
  std::uint64_t page = 0;
  std::uint64_t slab = 0;
  std::uint64_t slabs = 0;
  std::uint64_t backing = 0;
  std::uint64_t opened = 0;
  const bool complete = ended && ReadNumber(fields, "id", id) && ReadNumber(fields, "epoch", epoch) &&
                        ReadSecret(fields, "secret", record.secret) && ReadSecret(fields, "claim", record.claim) &&
                        ReadText(fields, "owner", record.owner_node) &&
                        ReadText(fields, "boot", record.owner_boot_id) &&
                        ReadText(fields, "region", record.region) && ReadNumber(fields, "page", page) &&
                        ReadNumber(fields, "slab", slab) && ReadNumber(fields, "slabs", slabs) &&
                        ReadNumber(fields, "backing", backing) && backing <= 2 &&
                        ReadNumber(fields, "opened", opened);
  record.id = LeaseId(id);
  record.epoch = Epoch(epoch);
  record.shape = {Bytes(slab), Bytes(page)};
  record.slabs = slabs;
  record.backing = static_cast<Backing>(backing);
  record.opened = opened != 0;
  if (!complete || !Plausible(record)) return Status(ErrorCode::kDataLoss, "damaged lease record");
  return record;
}

}  // namespace heca::store
