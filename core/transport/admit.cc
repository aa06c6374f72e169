// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/admit.h"

#include <fmt/format.h>

#include "wire/limits.h"

namespace heca::transport {

Result<std::shared_ptr<SlotMemory>> Admit(Admission& admission, const Hello& hello, std::size_t served, std::size_t most) {
  if (served >= most) {
    return Status(ErrorCode::kResourceExhausted, fmt::format("all {} data connections are in use", most));
  }
  HECA_ASSIGN_OR_RETURN(auto memory, admission.Admit(hello));
  if (!wire::IsPageSize(memory->PageSize().value())) {
    return Status(ErrorCode::kInternal, fmt::format("the lease has pages of {} bytes", memory->PageSize().value()));
  }
  return memory;
}

wire::HelloReply Grant(const SlotMemory& memory, std::uint16_t credits, std::uint32_t window_bytes) {
  wire::HelloReply reply;
  reply.page_size = static_cast<std::uint32_t>(memory.PageSize().value());
  reply.slot_count = memory.SlotCount();
  reply.max_batch = static_cast<std::uint16_t>(wire::MaxBatchFor(reply.page_size));
  reply.credits = credits;
  reply.window_bytes = window_bytes;
  return reply;
}

}  // namespace heca::transport
