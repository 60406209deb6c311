"""How Reverie talks to model servers: Chat Completions and Responses, over the openai SDK."""
