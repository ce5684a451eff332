-- one row is a removed document with the step and the reason, and the kept document that stands in for it
-- None stands in for a copy of a document that overlaps with what the model is measured on: its text is not wanted.
with overlapping as (
    select document_id as kept_document_id from contaminated join catalogue using (number)
)
select number, place, step, reason, unfit_documents.kept_document_id
from unfit_documents
anti join overlapping using (kept_document_id)
union all
select number, place, step, reason, null
from unfit_documents
semi join overlapping using (kept_document_id)
union all
select number, 9, 'decontamination', reason, null
from contaminated
