"""The page of an edit: parts in colours, masks, before and after."""
