"""What to look for in the syntax trees of each language, as tree-sitter queries.

Captures: ``name`` of what is defined under ``function``, ``class`` or ``scope`` (which only
qualifies what is in it); ``owner``, the type that a function outside of it belongs to; ``import``;
``call``, the expression that is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_JAVASCRIPT = """
(function_declaration name: (identifier) @name) @function
(generator_function_declaration name: (identifier) @name) @function
(variable_declarator name: (identifier) @name
  value: [(arrow_function) (function_expression) (generator_function)]) @function
(method_definition name: (_) @name) @function
(import_statement) @import
(export_statement source: (string)) @import
(variable_declarator value: (call_expression function: (identifier) @_f
  arguments: (arguments (string))) (#eq? @_f "require")) @import
(call_expression function: [(identifier) (member_expression)] @call)
(new_expression constructor: [(identifier) (member_expression)] @call)
"""

_TYPESCRIPT = (
    _JAVASCRIPT
    + """
(class_declaration name: (type_identifier) @name) @class
(abstract_class_declaration name: (type_identifier) @name) @class
(interface_declaration name: (type_identifier) @name) @class
(enum_declaration name: (identifier) @name) @class
(type_alias_declaration name: (type_identifier) @name) @class
"""
)

QUERIES: Final[Mapping[str, str]] = {
    "python": """
(function_definition name: (identifier) @name) @function
(class_definition name: (identifier) @name) @class
(import_statement) @import
(import_from_statement) @import
(call function: [(identifier) (attribute)] @call)
""",
    "javascript": _JAVASCRIPT + "(class_declaration name: (identifier) @name) @class",
    "typescript": _TYPESCRIPT,
    "tsx": _TYPESCRIPT,
    "go": """
(function_declaration name: (identifier) @name) @function
(method_declaration receiver: (parameter_list (parameter_declaration
  type: [(type_identifier) @owner (pointer_type (type_identifier) @owner)]))
  name: (field_identifier) @name) @function
(type_spec name: (type_identifier) @name) @class
(import_spec) @import
(call_expression function: [(identifier) (selector_expression)] @call)
""",
    "rust": """
(function_item name: (identifier) @name) @function
(function_signature_item name: (identifier) @name) @function
(struct_item name: (type_identifier) @name) @class
(enum_item name: (type_identifier) @name) @class
(trait_item name: (type_identifier) @name) @class
(impl_item type: (type_identifier) @name) @scope
(impl_item type: (generic_type type: (type_identifier) @name)) @scope
(mod_item name: (identifier) @name) @class
(use_declaration) @import
(call_expression function: [(identifier) (scoped_identifier) (field_expression)] @call)
""",
    "java": """
(class_declaration name: (identifier) @name) @class
(interface_declaration name: (identifier) @name) @class
(enum_declaration name: (identifier) @name) @class
(record_declaration name: (identifier) @name) @class
(method_declaration name: (identifier) @name) @function
(constructor_declaration name: (identifier) @name) @function
(package_declaration) @import
(import_declaration) @import
(method_invocation) @call
""",
    "c": """
(function_definition declarator: (function_declarator
  declarator: (identifier) @name)) @function
(function_definition declarator: (pointer_declarator (function_declarator
  declarator: (identifier) @name))) @function
(struct_specifier name: (type_identifier) @name body: (_)) @class
(enum_specifier name: (type_identifier) @name body: (_)) @class
(type_definition declarator: (type_identifier) @name) @class
(preproc_include) @import
(call_expression function: (identifier) @call)
""",
}
"""By language."""
