-- one row is a document of the corpus with its clean text: with placeholders and cuts if it is kept, as it was if not
-- Texts stand on the left of each join: only what is on the right is held in memory.
select number, text from masked_texts anti join removals using (number)
union all
select number, text from cut_texts anti join masked_texts using (number) anti join removals using (number)
union all
select number, text
from texts
join catalogue using (text_key)
anti join (
    select number from cut_texts union select number from masked_texts except select number from removals
) using (number)
