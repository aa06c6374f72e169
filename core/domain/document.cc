// SPDX-License-Identifier: LGPL-2.1-or-later
#include "domain/document.h"

#include <algorithm>

#include <fmt/format.h>

namespace heca::domain {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";
constexpr unsigned kParse = pugi::parse_full | pugi::parse_ws_pcdata | pugi::parse_fragment;

Status Bad(std::string text) { return {ErrorCode::kInvalidArgument, std::move(text)}; }

bool IsBlank(pugi::xml_node node) {
  return node.type() == pugi::node_pcdata &&
         std::string_view(node.value()).find_first_not_of(kBlanks) == std::string_view::npos;
}

bool IsNameByte(char c, bool first) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
  return letter || (!first && ((c >= '0' && c <= '9') || c == '.' || c == '-'));
}

/// NAME or PREFIX:NAME, as "Namespaces in XML" has it; the parser takes anything.
bool IsQualifiedName(std::string_view name) {
  const std::size_t colon = name.find(':');
  if (colon != std::string_view::npos) {
    return IsQualifiedName(name.substr(0, colon)) && name.find(':', colon + 1) == std::string_view::npos &&
           IsQualifiedName(name.substr(colon + 1));
  }
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (!IsNameByte(name[i], i == 0)) return false;
  }
  return !name.empty();
}

/// Well-formed, no character beyond U+10FFFF, no surrogate, none in more bytes than it needs (RFC 3629).
bool IsUtf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const std::size_t more = byte < 0x80 ? 0 : byte >= 0xC2 && byte < 0xE0 ? 1 : byte >= 0xE0 && byte < 0xF0 ? 2 : 3;
    if (byte >= 0x80 && (byte < 0xC2 || byte > 0xF4)) return false;
    if (i + more >= text.size()) return more == 0;
    for (std::size_t n = 1; n <= more; ++n) {
      if ((static_cast<unsigned char>(text[i + n]) & 0xC0) != 0x80) return false;
    }
    const auto second = more > 0 ? static_cast<unsigned char>(text[i + 1]) : 0x80;
    const bool wrong = (byte == 0xE0 && second < 0xA0) || (byte == 0xED && second > 0x9F) ||
                       (byte == 0xF0 && second < 0x90) || (byte == 0xF4 && second > 0x8F);
    if (wrong) return false;
    i += 1 + more;
  }
  return true;
}

struct Walker final : pugi::xml_tree_walker {
  bool for_each(pugi::xml_node& node) override {
    deepest = std::max(deepest, depth());
    has_doctype = has_doctype || node.type() == pugi::node_doctype;
    const std::string_view name = node.name();
    const bool prefixed = node.type() == pugi::node_element && name.find(':') != std::string_view::npos;
    if (prefixed && NamespaceOf(node).empty()) undeclared = name;
    if (node.type() == pugi::node_element && !IsQualifiedName(name)) misnamed = name;
    for (const pugi::xml_attribute attribute : node.attributes()) {
      if (!IsQualifiedName(attribute.name())) misnamed = attribute.name();
      if (node.attribute(attribute.name()) != attribute) twice = fmt::format("'{}' of <{}>", attribute.name(), name);
    }
    return deepest <= Document::kMaxDepth;
  }
  int deepest = 0;
  bool has_doctype = false;
  std::string undeclared;  ///< an element whose prefix means nothing
  std::string twice;       ///< an attribute: no XML, although the parser takes it
  std::string misnamed;    ///< the same
};

/// Line break and indentation before a node, or "" if it does not begin a line.
std::string IndentOf(pugi::xml_node node) {
  const pugi::xml_node before = node.previous_sibling();
  if (!IsBlank(before)) return {};
  const std::string_view blanks = before.value();
  const std::size_t line = blanks.rfind('\n');
  return line == std::string_view::npos ? std::string() : std::string(blanks.substr(line));
}

void InsertBlanksBefore(pugi::xml_node node, const std::string& blanks) {
  if (!blanks.empty()) node.parent().insert_child_before(pugi::node_pcdata, node).set_value(blanks.c_str());
}

/// The only element of a parent that had none.
pugi::xml_node FirstElement(pugi::xml_node parent, const std::string& name) {
  const std::string outer = IndentOf(parent).empty() && parent.parent().type() == pugi::node_document
                                ? std::string("\n")  // <domain> itself
                                : IndentOf(parent);
  while (IsBlank(parent.last_child())) parent.remove_child(parent.last_child());
  const pugi::xml_node made = parent.append_child(name.c_str());
  if (!outer.empty()) {
    InsertBlanksBefore(made, outer + "  ");
    parent.append_child(pugi::node_pcdata).set_value(outer.c_str());
  }
  return made;
}

pugi::xml_node InsertBehind(pugi::xml_node sibling, const std::string& name) {
  const pugi::xml_node made = sibling.parent().insert_child_after(name.c_str(), sibling);
  InsertBlanksBefore(made, IndentOf(sibling));
  return made;
}

}  // namespace

Result<Document> Document::Parse(std::string_view xml) {
  if (xml.size() > kMaxSize) {
    return Bad(fmt::format("{} bytes are no domain XML (at most {})", xml.size(), kMaxSize));
  }
  if (xml.find('\0') != std::string_view::npos) return Bad("there is a zero byte in it, so it is no XML");
  if (!IsUtf8(xml)) return Bad("this is no XML: it is not in UTF-8");
  if (xml.find_first_not_of(kBlanks) == std::string_view::npos) return Bad("there is no XML, only blanks");
  Document document;
  const pugi::xml_parse_result parsed =
      document.tree_->load_buffer(xml.data(), xml.size(), kParse, pugi::encoding_utf8);
  if (!parsed) {
    const auto end = xml.begin() + std::clamp<std::ptrdiff_t>(parsed.offset, 0, std::ssize(xml));
    return Bad(fmt::format("line {}: this is no XML: {}", 1 + std::count(xml.begin(), end, '\n'),
                           parsed.description()));
  }
  Walker walker;
  document.tree_->traverse(walker);
  if (walker.deepest > kMaxDepth) return Bad(fmt::format("elements are nested deeper than {}", kMaxDepth));
  if (walker.has_doctype) return Bad("a domain has no document type (<!DOCTYPE>): remove it");
  if (!walker.misnamed.empty()) return Bad(fmt::format("this is no XML: '{}' is no name", walker.misnamed));
  if (!walker.twice.empty()) return Bad(fmt::format("this is no XML: attribute {} is there twice", walker.twice));
  if (!walker.undeclared.empty()) {  // libvirt passes over it, until somebody declares the prefix
    return Bad(fmt::format("the prefix of <{}> is not declared, so that it means nothing: add xmlns:{}='...' to "
                           "<domain>",
                           walker.undeclared, walker.undeclared.substr(0, walker.undeclared.find(':'))));
  }
  for (const pugi::xml_node node : *document.tree_) {
    const bool text = (node.type() == pugi::node_pcdata && !IsBlank(node)) || node.type() == pugi::node_cdata;
    if (text) return Bad("there is text outside of <domain>");
    if (node.type() != pugi::node_element) continue;
    if (document.domain_) return Bad(fmt::format("there is a second element, <{}>, behind <domain>", node.name()));
    if (!Is(node, "domain")) return Bad(fmt::format("this is <{}>; the XML of a <domain> is needed", node.name()));
    document.domain_ = node;
  }
  if (!document.domain_) return Bad("there is no <domain> in it");
  const std::size_t tag = xml.find("<domain");
  const std::size_t quote = xml.find_first_of("'\"", tag == std::string_view::npos ? 0 : tag);
  document.single_quotes_ = quote == std::string_view::npos || xml[quote] == '\'';
  return document;
}

std::string Document::Print() const {
  struct Writer final : pugi::xml_writer {
    void write(const void* data, std::size_t size) override { text.append(static_cast<const char*>(data), size); }
    std::string text;
  } writer;
  const unsigned quotes = single_quotes_ ? pugi::format_attribute_single_quote : 0;
  tree_->save(writer, "", pugi::format_raw | pugi::format_no_declaration | quotes, pugi::encoding_utf8);
  return std::move(writer.text);
}

std::string_view NamespaceOfPrefix(pugi::xml_node node, std::string_view prefix) {
  const std::string name = prefix.empty() ? "xmlns" : "xmlns:" + std::string(prefix);
  for (; node.type() == pugi::node_element; node = node.parent()) {
    if (const pugi::xml_attribute found = node.attribute(name.c_str())) return found.value();
  }
  return "";
}

std::string_view NamespaceOf(pugi::xml_node element) {
  const std::string_view name = element.name();
  const std::size_t colon = name.find(':');
  return NamespaceOfPrefix(element, colon == std::string_view::npos ? "" : name.substr(0, colon));
}

bool Is(pugi::xml_node node, std::string_view name, std::string_view space) {
  if (node.type() != pugi::node_element) return false;
  std::string_view local = node.name();
  if (const std::size_t colon = local.find(':'); colon != std::string_view::npos) {
    if (space.empty()) return false;
    local.remove_prefix(colon + 1);
  }
  return local == name && NamespaceOf(node) == space;
}

pugi::xml_node Child(pugi::xml_node parent, std::string_view name, std::string_view space) {
  return parent.find_child([&](pugi::xml_node node) { return Is(node, name, space); });
}

Result<pugi::xml_node> OnlyChild(pugi::xml_node parent, std::string_view name, std::string_view space) {
  const pugi::xml_node first = Child(parent, name, space);
  for (pugi::xml_node next = first.next_sibling(); next; next = next.next_sibling()) {
    if (Is(next, name, space)) return Bad(fmt::format("<{}> has more than one <{}>", parent.name(), next.name()));
  }
  return first;
}

std::string_view Attribute(pugi::xml_node element, const char* name) { return element.attribute(name).value(); }

std::string Text(pugi::xml_node element) {
  const std::string_view text = element.text().get();
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(kBlanks) - first + 1));
}

std::string TagWith(pugi::xml_node element, const char* attribute) {
  return fmt::format("<{} {}='{}'>", element.name(), attribute, Attribute(element, attribute));
}

pugi::xml_node AppendElement(pugi::xml_node parent, const std::string& name) {
  pugi::xml_node last = parent.last_child();
  while (last && IsBlank(last)) last = last.previous_sibling();
  return last ? InsertBehind(last, name) : FirstElement(parent, name);
}

pugi::xml_node InsertElement(pugi::xml_node parent, const std::string& name,
                             std::initializer_list<std::string_view> after) {
  pugi::xml_node behind;
  for (const pugi::xml_node child : parent) {
    if (std::any_of(after.begin(), after.end(), [&](std::string_view n) { return Is(child, n); })) behind = child;
  }
  if (behind) return InsertBehind(behind, name);
  const pugi::xml_node first = parent.find_child([](pugi::xml_node n) { return n.type() == pugi::node_element; });
  if (!first) return AppendElement(parent, name);
  const std::string indent = IndentOf(first);
  const pugi::xml_node made = parent.insert_child_before(name.c_str(), first);
  InsertBlanksBefore(first, indent);
  return made;
}

void RemoveElement(pugi::xml_node element) {
  pugi::xml_node parent = element.parent();
  if (const pugi::xml_node before = element.previous_sibling(); IsBlank(before)) parent.remove_child(before);
  parent.remove_child(element);
}

void SetAttribute(pugi::xml_node element, const char* name, const std::string& value) {
  pugi::xml_attribute attribute = element.attribute(name);
  if (!attribute) attribute = element.append_attribute(name);
  attribute.set_value(value.c_str());
}

}  // namespace heca::domain
