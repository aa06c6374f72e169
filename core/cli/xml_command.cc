// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/xml_command.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>

#include "cli/json.h"
#include "domain/ready.h"

namespace heca::cli {
namespace {

/// More is no domain XML; PlanReady says so.
constexpr std::size_t kEnough = 5 << 20;

Result<std::string> ReadAll(std::FILE* file, const std::string& name) {
  std::string text;
  std::array<char, 1 << 16> part;
  while (text.size() < kEnough) {
    const std::size_t got = std::fread(part.data(), 1, part.size(), file);
    text.append(part.data(), got);
    if (got == part.size()) continue;
    if (std::ferror(file) != 0) return Status::FromErrno(errno, fmt::format("cannot read {}", name));
    break;
  }
  return text;
}

Result<std::string> ReadXml(const std::string& file, const Output& output) {
  if (file == "-") {
    if (output.in_is_terminal) {
      return Status(ErrorCode::kInvalidArgument,
                    "there is no XML: name a FILE, or pipe it: virsh dumpxml --inactive --security-info DOMAIN | "
                    "hecactl xml --ratio 1:3");
    }
    return ReadAll(output.in, "standard input");
  }
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> opened(std::fopen(file.c_str(), "re"), &std::fclose);
  if (!opened) return Status::FromErrno(errno, fmt::format("cannot open {}", file));
  return ReadAll(opened.get(), file);
}

std::string CheckText(const domain::Plan& plan) {
  std::string text = fmt::format("domain {}: {}\n", plan.memory.domain,
                                 !plan.refusals.empty() ? "cannot be governed"
                                 : plan.ready()         ? "ready"
                                                        : "not ready; hecactl xml changes this:");
  for (const domain::Refusal& refusal : plan.refusals) {
    text += fmt::format("refused: {}: {}; remedy: {}\n", refusal.name, refusal.detail, refusal.remedy);
  }
  for (const domain::Change& change : plan.changes) text += fmt::format("{}: {}\n", change.name, change.what);
  for (const std::string& note : plan.notes) text += fmt::format("note: {}\n", note);
  return text;
}

Json PlanJson(const domain::Plan& plan) {
  Json changes = Json::array();
  for (const domain::Change& change : plan.changes) changes.push_back({{"name", change.name}, {"what", change.what}});
  Json refusals = Json::array();
  for (const domain::Refusal& refusal : plan.refusals) {
    refusals.push_back({{"name", refusal.name}, {"what", refusal.detail}, {"remedy", refusal.remedy}});
  }
  Json notes = Json::array();
  for (const std::string& note : plan.notes) notes.push_back(note);
  return {{"domain", plan.memory.domain}, {"uuid", plan.memory.uuid}, {"ready", plan.ready()},
          {"changes", changes},           {"refusals", refusals},     {"notes", notes}};
}

/// JSON has to be UTF-8; what is not becomes U+FFFD.
void PrintJson(const Json& json, const Output& output) {
  fmt::print(output.out, "{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

Result<ExitCode> RunXml(const Request& request, const Output& output) {
  HECA_ASSIGN_OR_RETURN(const std::string xml, ReadXml(request.xml.file, output));
  domain::ReadyOptions options;
  options.wish = request.xml.wish;
  HECA_ASSIGN_OR_RETURN(const domain::Plan plan, domain::PlanReady(xml, options));
  if (request.xml.check) {
    if (request.json) {
      PrintJson(PlanJson(plan), output);
    } else {
      fmt::print(output.out, "{}", CheckText(plan));
    }
    return plan.ready() ? ExitCode::kOk : ExitCode::kFailed;
  }
  HECA_ASSIGN_OR_RETURN(const std::string ready, domain::MakeReady(xml, options));
  if (request.json) {
    Json json = PlanJson(plan);
    json["xml"] = ready;
    PrintJson(json, output);
    return ExitCode::kOk;
  }
  for (const std::string& note : plan.notes) fmt::print(output.err, "hecactl: xml: note: {}\n", note);
  std::fwrite(ready.data(), 1, ready.size(), output.out);
  return ExitCode::kOk;
}

}  // namespace heca::cli
