// SPDX-License-Identifier: LGPL-2.1-or-later
// Domain XML as a tree that is changed here and there and printed again. Private to the room.
//
// Everything between the elements is kept: blanks, comments, processing instructions, CDATA. What may differ after
// printing although nobody changed it: the kind of quotes (all become the kind that the text uses first), character
// references (&#x41; becomes A), line ends (LF), `<a></a>` (becomes `<a/>`). libvirt prints none of these. Whoever
// changed nothing hands out the text that came in.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include <pugixml.hpp>

#include "heca/status.h"

namespace heca::domain {

/// Owns the tree; nodes are handles into it. One thread at a time.
class Document {
 public:
  /// Larger texts are refused: libvirt's own limit for a domain's XML in its protocol.
  static constexpr std::size_t kMaxSize = 4 << 20;
  /// Deeper ones too: pugixml deletes trees by recursion, and a domain has a depth of about ten.
  static constexpr int kMaxDepth = 64;

  /// kInvalidArgument: not one well-formed <domain> (with the line), a document type, an element whose prefix is not
  /// declared, or too large.
  static Result<Document> Parse(std::string_view xml);

  /// The element <domain>.
  [[nodiscard]] pugi::xml_node domain() const { return domain_; }
  [[nodiscard]] std::string Print() const;

 private:
  Document() : tree_(std::make_unique<pugi::xml_document>()) {}
  std::unique_ptr<pugi::xml_document> tree_;
  pugi::xml_node domain_;
  bool single_quotes_ = true;
};

/// The namespace that `prefix` stands for at `node`; "" for none.
[[nodiscard]] std::string_view NamespaceOfPrefix(pugi::xml_node node, std::string_view prefix);
/// Of an element, from its own prefix.
[[nodiscard]] std::string_view NamespaceOf(pugi::xml_node element);
/// Whether it is that element; `space` is "" for libvirt's own.
[[nodiscard]] bool Is(pugi::xml_node node, std::string_view name, std::string_view space = "");
/// The first child of that name, or a null node.
[[nodiscard]] pugi::xml_node Child(pugi::xml_node parent, std::string_view name, std::string_view space = "");
/// The child of that name, which may be missing (a null node); kInvalidArgument if there are several.
[[nodiscard]] Result<pugi::xml_node> OnlyChild(pugi::xml_node parent, std::string_view name,
                                               std::string_view space = "");
[[nodiscard]] std::string_view Attribute(pugi::xml_node element, const char* name);
/// Text of an element without blanks around it.
[[nodiscard]] std::string Text(pugi::xml_node element);
/// "<interface type='vdpa'>", for messages.
[[nodiscard]] std::string TagWith(pugi::xml_node element, const char* attribute);

/// A new last child, indented like the others.
pugi::xml_node AppendElement(pugi::xml_node parent, const std::string& name);
/// A new child of `parent` behind the last one that has a name of `after`; without one, the new first element.
pugi::xml_node InsertElement(pugi::xml_node parent, const std::string& name,
                             std::initializer_list<std::string_view> after);
/// Takes the blanks before it away too.
void RemoveElement(pugi::xml_node element);
/// Sets it, or makes it.
void SetAttribute(pugi::xml_node element, const char* name, const std::string& value);

}  // namespace heca::domain
