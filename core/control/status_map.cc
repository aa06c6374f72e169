// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/status_map.h"

#include <cstddef>
#include <cstdint>

#include "heca/v1/error.pb.h"

namespace heca::control {
namespace {

constexpr std::size_t kMaxText = 1024;

grpc::StatusCode NearestCode(ErrorCode code) {
  switch (code) {
    case ErrorCode::kOk: return grpc::StatusCode::OK;
    case ErrorCode::kInvalidArgument: return grpc::StatusCode::INVALID_ARGUMENT;
    case ErrorCode::kNotFound: return grpc::StatusCode::NOT_FOUND;
    case ErrorCode::kAlreadyExists: return grpc::StatusCode::ALREADY_EXISTS;
    case ErrorCode::kPermissionDenied: return grpc::StatusCode::PERMISSION_DENIED;
    case ErrorCode::kFailedPrecondition: return grpc::StatusCode::FAILED_PRECONDITION;
    case ErrorCode::kUnavailable: return grpc::StatusCode::UNAVAILABLE;
    case ErrorCode::kDeadlineExceeded: return grpc::StatusCode::DEADLINE_EXCEEDED;
    case ErrorCode::kResourceExhausted: return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case ErrorCode::kBusy: return grpc::StatusCode::ABORTED;  // gRPC's word for "repeat it yourself"
    case ErrorCode::kAborted: return grpc::StatusCode::CANCELLED;
    case ErrorCode::kDataLoss: return grpc::StatusCode::DATA_LOSS;
    case ErrorCode::kUnsupported: return grpc::StatusCode::UNIMPLEMENTED;
    case ErrorCode::kInternal: return grpc::StatusCode::INTERNAL;
  }
  return grpc::StatusCode::INTERNAL;
}

/// For errors that gRPC itself made, and for peers that send no detail.
ErrorCode PlainCode(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK: return ErrorCode::kOk;
    case grpc::StatusCode::CANCELLED: return ErrorCode::kAborted;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE: return ErrorCode::kInvalidArgument;
    case grpc::StatusCode::DEADLINE_EXCEEDED: return ErrorCode::kDeadlineExceeded;
    case grpc::StatusCode::NOT_FOUND: return ErrorCode::kNotFound;
    case grpc::StatusCode::ALREADY_EXISTS: return ErrorCode::kAlreadyExists;
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED: return ErrorCode::kPermissionDenied;
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return ErrorCode::kResourceExhausted;
    case grpc::StatusCode::FAILED_PRECONDITION: return ErrorCode::kFailedPrecondition;
    case grpc::StatusCode::ABORTED: return ErrorCode::kBusy;
    case grpc::StatusCode::UNIMPLEMENTED: return ErrorCode::kUnsupported;
    case grpc::StatusCode::UNAVAILABLE: return ErrorCode::kUnavailable;
    case grpc::StatusCode::DATA_LOSS: return ErrorCode::kDataLoss;
    default: return ErrorCode::kInternal;
  }
}

/// Length of the valid UTF-8 sequence at the front of `text`; 0: there is none.
std::size_t SequenceLength(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xC2 && lead <= 0xDF ? 2 : lead >= 0xE0 && lead <= 0xEF ? 3
                             : lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const std::uint8_t second = byte(1);
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool surrogate = lead == 0xED && second > 0x9F;
  const bool too_large = lead == 0xF4 && second > 0x8F;
  return overlong || surrogate || too_large ? 0 : length;
}

}  // namespace

std::string Utf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = SequenceLength(text);
    if (length == 0) {
      valid.push_back('?');
      text.remove_prefix(1);
    } else {
      valid.append(text.substr(0, length));
      text.remove_prefix(length);
    }
  }
  return valid;
}

grpc::Status ToGrpc(const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string text = Utf8(status.message());
  if (text.size() > kMaxText) text = Utf8(text.substr(0, kMaxText - 3)) + "...";

  v1::ErrorDetail detail;
  detail.set_code(static_cast<v1::ErrorCode>(status.code()));
  detail.set_scope(static_cast<v1::ErrorScope>(status.scope()));
  detail.set_sys_errno(status.sys_errno());
  detail.set_retryable(status.retryable());
  v1::RpcStatus rich;
  rich.set_code(NearestCode(status.code()));
  rich.set_message(text);
  rich.add_details()->PackFrom(detail);
  return grpc::Status(NearestCode(status.code()), text, rich.SerializeAsString());
}

Status FromGrpc(const grpc::Status& status, std::string_view peer) {
  if (status.ok()) return Status();
  v1::RpcStatus rich;
  if (!status.error_details().empty() && rich.ParseFromString(status.error_details())) {
    for (const auto& any : rich.details()) {
      v1::ErrorDetail detail;
      if (!any.UnpackTo(&detail)) continue;
      if (detail.code() <= v1::ERROR_CODE_OK || detail.code() > v1::ERROR_CODE_INTERNAL) break;
      const bool known_scope = detail.scope() >= v1::ERROR_SCOPE_NONE && detail.scope() <= v1::ERROR_SCOPE_NODE;
      return Status(static_cast<ErrorCode>(detail.code()), status.error_message(),
                    known_scope ? static_cast<ErrorScope>(detail.scope()) : ErrorScope::kNone, detail.sys_errno());
    }
  }
  const ErrorCode code = PlainCode(status.error_code());
  std::string text(peer);
  switch (code) {
    case ErrorCode::kUnavailable: text.append(" is not reachable"); break;
    case ErrorCode::kDeadlineExceeded: text.append(" did not answer in time"); break;
    case ErrorCode::kUnsupported: text.append(" does not know this call: is it an older release?"); break;
    case ErrorCode::kResourceExhausted: text.append(" is overloaded, or a message is too large"); break;
    case ErrorCode::kAborted: text.append(": the call was cancelled"); break;
    default: break;
  }
  if (!status.error_message().empty()) text.append(" (").append(status.error_message()).append(")");
  return Status(code, std::move(text), ErrorScope::kConnection);
}

}  // namespace heca::control
