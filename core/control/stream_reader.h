// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads a server stream on the caller's thread, so that a wait can be cut short: by the caller who cancels, or by a
// server that says nothing for too long. Private to this room.
#pragma once

#include <grpc/support/time.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/support/async_stream.h>

#include <cstdint>

#include "base/clock.h"

namespace heca::control {

enum class StreamEnd : std::uint8_t { kInvalid = 0, kServer = 1, kCancelled = 2, kSilence = 3 };

/// How a stream ended; `status` is gRPC's.
struct StreamOutcome {
  StreamEnd end = StreamEnd::kInvalid;
  grpc::Status status;
};

/// `start(queue, tag)` starts the call and returns its reader. `on_message` returns false to end the stream.
/// `cancelled` is asked every 100 ms. `silence` zero: a silent server is waited for.
template <class Reply, class Start, class OnMessage, class Cancelled>
StreamOutcome ReadStream(grpc::ClientContext& context, Millis silence, const Start& start,
                         const OnMessage& on_message, const Cancelled& cancelled) {
  constexpr int kCancelCheckMs = 100;
  grpc::CompletionQueue queue;
  StreamOutcome outcome{StreamEnd::kServer, grpc::Status::OK};
  Clock::time_point heard = Clock::now();

  const auto give_up = [&](StreamEnd end) {
    if (outcome.end != StreamEnd::kServer) return;
    outcome.end = end;
    context.TryCancel();
  };
  // Waits until the operation in flight (there is never more than one) is over; returns whether it succeeded.
  const auto wait = [&] {
    void* tag = nullptr;
    bool ok = false;
    while (true) {
      const gpr_timespec check =
          gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(kCancelCheckMs, GPR_TIMESPAN));
      const auto next = queue.AsyncNext(&tag, &ok, check);
      if (next == grpc::CompletionQueue::GOT_EVENT) return ok;
      if (cancelled()) give_up(StreamEnd::kCancelled);
      if (silence > Millis::zero() && Clock::now() - heard > silence) give_up(StreamEnd::kSilence);
    }
  };

  const auto reader = start(&queue, &queue);
  bool more = wait();
  while (more) {
    Reply reply;
    reader->Read(&reply, &queue);
    more = wait();
    if (!more) break;
    heard = Clock::now();
    if (outcome.end == StreamEnd::kServer && (cancelled() || !on_message(reply))) give_up(StreamEnd::kCancelled);
  }
  reader->Finish(&outcome.status, &queue);
  wait();

  queue.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) continue;
  return outcome;
}

}  // namespace heca::control
