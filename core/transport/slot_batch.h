// SPDX-License-Identifier: LGPL-2.1-or-later
// What every transport does alike with the slots of one operation: the client's checks, the server's walk over its
// SlotMemory, and the text of a failure. No state; as thread-safe as the SlotMemory.
#pragma once

#include <cstddef>
#include <span>

#include "heca/status.h"
#include "heca/types.h"
#include "transport/channel.h"
#include "transport/server.h"
#include "wire/message.h"

namespace heca::transport {

enum class Operation : std::uint8_t { kInvalid = 0, kRead = 1, kWrite = 2, kRelease = 3 };

/// What a channel checks before it starts an operation. kFailedPrecondition for a write or release on an urgent channel:
/// urgent carries reads for faults and nothing else.
Status CheckOperation(Operation operation, Role role, std::span<const Slot> slots, std::size_t max_batch);
/// Also that there is one page for every slot.
Status CheckWrite(Role role, std::span<const Slot> slots, std::span<const std::byte> pages, Attempt attempt,
                  Bytes page_size, std::size_t max_batch);

/// What a server checks before it carries out a request that was decoded; an error cuts the connection off.
Status CheckRequest(const wire::RequestHeader& header, Role role, std::size_t page_size);
/// kPermissionDenied once the lease is not the connection's any more.
Status CheckOwner(const SlotMemory& memory, const Hello& hello);

/// How an operation ended at the server: kOk, or why and at which slot.
struct BatchOutcome {
  ErrorCode code = ErrorCode::kOk;
  Slot slot = kNoSlot;
  [[nodiscard]] bool ok() const { return code == ErrorCode::kOk; }
};

/// Fills one span for every slot, or stops at the first that cannot be read.
BatchOutcome PagesForRead(SlotMemory& memory, std::span<const Slot> slots, std::span<std::span<const std::byte>> pages);
/// The same for a write. An empty span: swallow the bytes. Nothing is written until Commit.
BatchOutcome LandingsForWrite(SlotMemory& memory, std::span<const Slot> slots, Attempt attempt,
                              std::span<std::span<std::byte>> landings);
void Commit(SlotMemory& memory, std::span<const Slot> slots, std::span<const std::span<std::byte>> landings);
/// Releases all of them; tells the first failure.
BatchOutcome ReleaseAll(SlotMemory& memory, std::span<const Slot> slots);

/// The client's Status for a failed operation. Allocates.
Status Explain(Operation operation, const BatchOutcome& outcome);

}  // namespace heca::transport
