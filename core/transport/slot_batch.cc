// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/slot_batch.h"

#include <fmt/format.h>

namespace heca::transport {
namespace {

std::string_view Verb(Operation operation) {
  switch (operation) {
    case Operation::kRead: return "read";
    case Operation::kWrite: return "write";
    case Operation::kRelease: return "release";
    case Operation::kInvalid: break;
  }
  return "invalid operation";
}

std::string_view Reason(ErrorCode code) {
  switch (code) {
    case ErrorCode::kDataLoss: return "it was never written, or was released";
    case ErrorCode::kAlreadyExists: return "it is written and was not released";
    case ErrorCode::kInvalidArgument: return "the lease has no such slot";
    default: return heca::ToString(code);
  }
}

}  // namespace

std::string_view RoleName(Role role) {
  switch (role) {
    case Role::kUrgent: return "urgent";
    case Role::kBulk: return "bulk";
    case Role::kInvalid: break;
  }
  return "invalid";
}

Status CheckOperation(Operation operation, Role role, std::span<const Slot> slots, std::size_t max_batch) {
  if (slots.empty() || slots.size() > max_batch) {
    return {ErrorCode::kInvalidArgument,
            fmt::format("a {} takes 1 to {} slots, not {}", Verb(operation), max_batch, slots.size())};
  }
  for (const Slot slot : slots) {
    if (slot == kNoSlot) return {ErrorCode::kInvalidArgument, fmt::format("{} of slot 0, which is none", Verb(operation))};
  }
  if (role == Role::kUrgent && operation != Operation::kRead) {
    return {ErrorCode::kFailedPrecondition, fmt::format("a {} belongs on a bulk channel", Verb(operation))};
  }
  return {};
}

Status CheckWrite(Role role, std::span<const Slot> slots, std::span<const std::byte> pages, Attempt attempt,
                  Bytes page_size, std::size_t max_batch) {
  HECA_RETURN_IF_ERROR(CheckOperation(Operation::kWrite, role, slots, max_batch));
  if (pages.size() != slots.size() * page_size.value()) {
    return {ErrorCode::kInvalidArgument, fmt::format("a write of {} slots takes {} bytes, not {}", slots.size(),
                                                     slots.size() * page_size.value(), pages.size())};
  }
  if (attempt == Attempt::kInvalid) return {ErrorCode::kInvalidArgument, "a write is a first or a repeated attempt"};
  return {};
}

Status CheckRequest(const wire::RequestHeader& header, Role role, std::size_t page_size) {
  if (header.count > wire::MaxBatchFor(static_cast<std::uint32_t>(page_size))) {
    return {ErrorCode::kInvalidArgument, fmt::format("the peer broke its batch limit: {} slots", header.count),
            ErrorScope::kConnection};
  }
  if (role == Role::kUrgent && header.kind != wire::RequestKind::kRead) {
    return {ErrorCode::kInvalidArgument, "the peer wrote or released on an urgent connection", ErrorScope::kConnection};
  }
  return {};
}

Status CheckOwner(const SlotMemory& memory, const Hello& hello) {
  if (memory.StillOwnedBy(hello.epoch)) return {};
  return {ErrorCode::kPermissionDenied,
          fmt::format("epoch {} does not own lease {} any more", hello.epoch.value(), hello.lease.value()),
          ErrorScope::kConnection};
}

BatchOutcome PagesForRead(SlotMemory& memory, std::span<const Slot> slots,
                          std::span<std::span<const std::byte>> pages) {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const auto page = memory.ForRead(slots[i]);
    if (!page.ok()) return {page.status().code(), slots[i]};
    pages[i] = *page;
  }
  return {};
}

BatchOutcome LandingsForWrite(SlotMemory& memory, std::span<const Slot> slots, Attempt attempt,
                              std::span<std::span<std::byte>> landings) {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const auto landing = memory.BeginWrite(slots[i], attempt);
    if (!landing.ok()) return {landing.status().code(), slots[i]};
    landings[i] = *landing;
  }
  return {};
}

void Commit(SlotMemory& memory, std::span<const Slot> slots, std::span<const std::span<std::byte>> landings) {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (!landings[i].empty()) memory.CommitWrite(slots[i]);
  }
}

BatchOutcome ReleaseAll(SlotMemory& memory, std::span<const Slot> slots) {
  BatchOutcome outcome;
  for (const Slot slot : slots) {
    const Status status = memory.Release(slot);
    if (!status.ok() && outcome.ok()) outcome = {status.code(), slot};
  }
  return outcome;
}

Status Explain(Operation operation, const BatchOutcome& outcome) {
  if (outcome.ok()) return {};
  return {outcome.code,
          fmt::format("the sponsor refuses to {} slot {}: {}", Verb(operation), outcome.slot.value(), Reason(outcome.code)),
          ErrorScope::kPage};
}

}  // namespace heca::transport
