// SPDX-License-Identifier: LGPL-2.1-or-later
// A call with one answer on the caller's thread, which the caller can give up. Private to this room.
#pragma once

#include <grpc/support/time.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/support/async_unary_call.h>

#include <functional>
#include <memory>

namespace heca::control {

/// One of a stub's Async...() methods.
template <class Stub, class Request, class Reply>
using UnaryMethod = std::unique_ptr<grpc::ClientAsyncResponseReader<Reply>> (Stub::*)(grpc::ClientContext*, const Request&,
                                                                                     grpc::CompletionQueue*);

struct UnaryOutcome {
  bool cancelled = false;  ///< the caller gave up, and there is no answer
  grpc::Status status;
};

/// `cancelled` is asked every 100 ms; empty: the context's deadline alone ends the wait.
template <class Stub, class Request, class Reply>
UnaryOutcome CallUnary(Stub& stub, UnaryMethod<Stub, Request, Reply> method, grpc::ClientContext& context,
                       const Request& request, Reply& reply, const std::function<bool()>& cancelled) {
  constexpr int kCancelCheckMs = 100;
  grpc::CompletionQueue queue;
  UnaryOutcome outcome;
  bool gave_up = false;
  const auto reader = (stub.*method)(&context, request, &queue);
  reader->Finish(&reply, &outcome.status, &queue);

  void* tag = nullptr;
  bool ok = false;
  const auto look_again = [&] {
    if (!cancelled || gave_up) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(kCancelCheckMs, GPR_TIMESPAN));
  };
  while (queue.AsyncNext(&tag, &ok, look_again()) == grpc::CompletionQueue::TIMEOUT) {
    if (!cancelled()) continue;
    gave_up = true;
    context.TryCancel();
  }
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) continue;
  // An answer that came all the same is one.
  outcome.cancelled = gave_up && outcome.status.error_code() == grpc::StatusCode::CANCELLED;
  return outcome;
}

}  // namespace heca::control
