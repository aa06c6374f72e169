// SPDX-License-Identifier: LGPL-2.1-or-later
#include "heca/status.h"

#include <cerrno>
#include <cstring>

namespace heca {
namespace {

ErrorCode CodeOf(int sys_errno) {
  switch (sys_errno) {
    case EINVAL: return ErrorCode::kInvalidArgument;
    case ENOENT:
    case ESRCH: return ErrorCode::kNotFound;
    case EEXIST: return ErrorCode::kAlreadyExists;
    case EPERM:
    case EACCES: return ErrorCode::kPermissionDenied;
    case ENOMEM:
    case ENOSPC:
    case EMFILE:
    case ENFILE:
    case EDQUOT: return ErrorCode::kResourceExhausted;
    case EAGAIN:
    case EBUSY:
    case EINTR: return ErrorCode::kBusy;
    case ETIMEDOUT: return ErrorCode::kDeadlineExceeded;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EHOSTUNREACH:
    case ENETUNREACH: return ErrorCode::kUnavailable;
    case ENOSYS:
    case EOPNOTSUPP: return ErrorCode::kUnsupported;
    default: return ErrorCode::kInternal;
  }
}

}  // namespace

std::string_view ToString(ErrorCode code) {
  switch (code) {
    case ErrorCode::kOk: return "OK";
    case ErrorCode::kInvalidArgument: return "INVALID_ARGUMENT";
    case ErrorCode::kNotFound: return "NOT_FOUND";
    case ErrorCode::kAlreadyExists: return "ALREADY_EXISTS";
    case ErrorCode::kPermissionDenied: return "PERMISSION_DENIED";
    case ErrorCode::kFailedPrecondition: return "FAILED_PRECONDITION";
    case ErrorCode::kUnavailable: return "UNAVAILABLE";
    case ErrorCode::kDeadlineExceeded: return "DEADLINE_EXCEEDED";
    case ErrorCode::kResourceExhausted: return "RESOURCE_EXHAUSTED";
    case ErrorCode::kBusy: return "BUSY";
    case ErrorCode::kAborted: return "ABORTED";
    case ErrorCode::kDataLoss: return "DATA_LOSS";
    case ErrorCode::kUnsupported: return "UNSUPPORTED";
    case ErrorCode::kInternal: return "INTERNAL";
  }
  return "UNKNOWN";
}

std::string_view ToString(ErrorScope scope) {
  switch (scope) {
    case ErrorScope::kNone: return "none";
    case ErrorScope::kPage: return "page";
    case ErrorScope::kRegion: return "region";
    case ErrorScope::kReplica: return "replica";
    case ErrorScope::kConnection: return "connection";
    case ErrorScope::kNode: return "node";
  }
  return "unknown";
}

Status::Status(ErrorCode code, std::string message, ErrorScope scope, int sys_errno) {
  if (code != ErrorCode::kOk) rep_ = std::make_unique<Rep>(Rep{code, scope, sys_errno, std::move(message)});
}

Status::Status(const Status& other) : rep_(other.rep_ ? std::make_unique<Rep>(*other.rep_) : nullptr) {}

Status& Status::operator=(const Status& other) {
  if (this != &other) rep_ = other.rep_ ? std::make_unique<Rep>(*other.rep_) : nullptr;
  return *this;
}

Status Status::FromErrno(int sys_errno, std::string_view what, ErrorScope scope) {
  const char* name = strerrorname_np(sys_errno);
  std::string text(what);
  text.append(": ").append(std::strerror(sys_errno));  // NOLINT: glibc's strerror is thread-safe for known values
  text.append(" (").append(name != nullptr ? name : std::to_string(sys_errno)).append(")");
  return Status(CodeOf(sys_errno), std::move(text), scope, sys_errno);
}

bool Status::retryable() const {
  switch (code()) {
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kBusy: return true;
    default: return false;
  }
}

Status Status::WithContext(std::string_view context) const {
  if (ok()) return Status();
  std::string text(context);
  text.append(": ").append(rep_->message);
  return Status(rep_->code, std::move(text), rep_->scope, rep_->sys_errno);
}

std::string Status::ToString() const {
  if (ok()) return "OK";
  std::string text(heca::ToString(rep_->code));
  return text.append(": ").append(rep_->message);
}

}  // namespace heca
