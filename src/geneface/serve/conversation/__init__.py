"""Conversation: what the person says or types goes to a chat model, whose answer is spoken while it still arrives."""
