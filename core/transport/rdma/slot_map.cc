// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/slot_map.h"

#include <algorithm>

namespace heca::transport::rdma {
namespace {

/// The smallest page that a peer's memory may have; larger ones end at ends of such.
constexpr std::uint64_t kMemoryPage = 4096;

}  // namespace

Status SlotMap::Load(std::span<const std::byte> directory) {
  HECA_ASSIGN_OR_RETURN(const auto count, wire::DecodeDirectoryCount(directory.first<wire::kDirectoryHeaderSize>()));
  const auto entries = directory.subspan(wire::kDirectoryHeaderSize);
  std::vector<wire::DirectoryEntry> loaded;
  for (std::size_t i = 0; i < count && (i + 1) * wire::kDirectoryEntrySize <= entries.size(); ++i) {
    HECA_ASSIGN_OR_RETURN(const auto entry, wire::DecodeDirectoryEntry(entries.subspan(i * wire::kDirectoryEntrySize)
                                                                           .first<wire::kDirectoryEntrySize>()));
    loaded.push_back(entry);
  }
  std::sort(loaded.begin(), loaded.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  entries_ = std::move(loaded);
  return {};
}

const wire::DirectoryEntry* SlotMap::Find(Slot slot) const {
  auto after = std::upper_bound(entries_.begin(), entries_.end(), slot,
                                [](Slot wanted, const auto& entry) { return wanted < entry.first; });
  if (after == entries_.begin()) return nullptr;
  const auto& entry = *--after;
  return slot.value() - entry.first.value() < entry.slots ? &entry : nullptr;
}

bool SlotMap::HasAll(std::span<const Slot> slots) const {
  return !entries_.empty() && std::all_of(slots.begin(), slots.end(), [this](Slot slot) { return Find(slot) != nullptr; });
}

SlotMap::Run SlotMap::RunAt(std::span<const Slot> slots, std::size_t begin) const {
  const wire::DirectoryEntry& entry = *Find(slots[begin]);
  const std::uint32_t index = slots[begin].value() - entry.first.value();
  const std::uint64_t marks = entry.marks.address + index;
  const std::uint64_t most = kMemoryPage - marks % kMemoryPage;
  std::size_t count = 1;
  while (count < most && begin + count < slots.size() && slots[begin + count].value() == slots[begin].value() + count &&
         index + count < entry.slots) {
    ++count;
  }
  return {begin, count, {entry.pages.address + std::uint64_t{index} * page_size_, entry.pages.key},
          {marks, entry.marks.key}};
}

}  // namespace heca::transport::rdma
